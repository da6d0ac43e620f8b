//! All partitions, and how many requests are under way.

use std::sync::Arc;
use std::time::Duration;

use engine_api::{EngineError, ModelId, ZoneId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::FleetLimits;
use crate::incidents::IncidentCounts;
use crate::link::Link;
use crate::partition::Partition;
use crate::placement;
use crate::quarantine::Quarantine;

/// Deaths of workers after which a request is not tried again.
pub(crate) const DEATHS_MAX: u32 = 2;
/// Hint for clients when no worker is up: about the time of a restart.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// No worker of the model is up.
pub(crate) fn unavailable(model: &ModelId) -> EngineError {
    EngineError::Unavailable { model: model.clone(), retry_after: RETRY_AFTER }
}

/// Shared by the fleet and every request.
pub(crate) struct Roster {
    partitions: Vec<Arc<Partition>>,
    limits: FleetLimits,
    quarantine: Quarantine,
    incidents: IncidentCounts,
    changes: watch::Receiver<u64>,
    phase: watch::Sender<Phase>,
    requests: watch::Sender<usize>,
}

/// How far the fleet is from its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Phase {
    Open,
    /// No new requests.
    Draining,
    /// No requests at all.
    Halted,
}

/// Counts one request for as long as it exists.
pub(crate) struct Seat {
    requests: watch::Sender<usize>,
}

impl Roster {
    pub(crate) fn new(
        partitions: Vec<Arc<Partition>>,
        limits: FleetLimits,
        changes: watch::Receiver<u64>,
    ) -> Self {
        let quarantine = Quarantine::new(limits.quarantine);
        let (phase, _) = watch::channel(Phase::Open);
        let (requests, _) = watch::channel(0);
        let incidents = IncidentCounts::default();
        Self { partitions, limits, quarantine, incidents, changes, phase, requests }
    }

    pub(crate) fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    pub(crate) fn limits(&self) -> &FleetLimits {
        &self.limits
    }

    pub(crate) fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    pub(crate) fn incidents(&self) -> &IncidentCounts {
        &self.incidents
    }

    /// Hears of every partition that becomes ready or ends.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// The ready partition with the least to do, among those of the model and these zones whose link
    /// is not known to be busy; `None` when there is none yet.
    pub(crate) fn choose(
        &self,
        model: &ModelId,
        zones: &[ZoneId],
        busy: &[Arc<Link>],
    ) -> Result<Option<Arc<Link>>, EngineError> {
        let mut places = self.places(model, zones).peekable();
        if places.peek().is_none() {
            return Err(unavailable(model));
        }
        let links: Vec<_> = places.filter_map(|partition| partition.link()).collect();
        let is_free = |link: &&Arc<Link>| !busy.iter().any(|busy| Arc::ptr_eq(busy, link));
        let free: Vec<_> = links.iter().filter(is_free).collect();
        if free.is_empty() && !links.is_empty() {
            return Err(EngineError::Overloaded { retry_after: RETRY_AFTER });
        }
        let burdens: Vec<_> = free.iter().map(|link| link.burden()).collect();
        Ok(placement::lightest(&burdens).map(|place| free[place].clone()))
    }

    /// Where a request may run, ready or not: the partitions of its model in its zones.
    pub(crate) fn places<'a>(
        &'a self,
        model: &'a ModelId,
        zones: &'a [ZoneId],
    ) -> impl Iterator<Item = &'a Arc<Partition>> {
        self.partitions.iter().filter(move |partition| {
            let config = partition.config();
            config.model == *model && zones.contains(&config.zone)
        })
    }

    /// A place for a new request; `None` when the fleet takes none any more.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let requests = self.requests.clone();
        // counted first: whoever drains sees either this request or no permission for it
        requests.send_modify(|count| *count += 1);
        let seat = Seat { requests };
        (*self.phase.borrow() == Phase::Open).then_some(seat)
    }

    /// Takes no new requests, and waits for the others until the deadline; then ends them.
    pub(crate) async fn drain(&self, deadline: Instant) {
        self.phase.send_if_modified(|phase| {
            let open = *phase == Phase::Open;
            if open {
                *phase = Phase::Draining;
            }
            open
        });
        let mut requests = self.requests.subscribe();
        // the sender is ours: only the deadline can be an error
        let _ = timeout_at(deadline, requests.wait_for(|count| *count == 0)).await;
        self.halt();
    }

    /// Ends every request.
    pub(crate) fn halt(&self) {
        self.phase.send_replace(Phase::Halted);
    }

    /// Waits until no request may go on.
    pub(crate) async fn halted(&self) {
        let mut phase = self.phase.subscribe();
        // the sender is ours
        let _ = phase.wait_for(|phase| *phase == Phase::Halted).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.requests.send_modify(|count| *count -= 1);
    }
}
