//! One partition: what the operator configured, and what its worker is doing.

use std::sync::{Arc, Mutex, MutexGuard};

use engine_api::Epoch;
use tokio::sync::watch;

use crate::link::Link;
use crate::{PartitionConfig, PartitionCounters, PartitionLoad, PartitionState, PartitionStatus};

/// Shared by its supervisor, which alone changes it, and by whoever places requests.
pub(crate) struct Partition {
    config: PartitionConfig,
    state: Mutex<State>,
    /// Counts changes of any partition, for those who wait for one to be ready.
    changes: watch::Sender<u64>,
}

struct State {
    state: PartitionState,
    epoch: Epoch,
    pid: Option<u32>,
    failures: u32,
    last_failure: Option<String>,
    link: Option<Arc<Link>>,
    /// What the workers before the one on the link have done.
    done: PartitionCounters,
}

impl Partition {
    pub(crate) fn new(config: PartitionConfig, changes: watch::Sender<u64>) -> Self {
        let state = State {
            state: PartitionState::Starting,
            epoch: Epoch(0),
            pid: None,
            failures: 0,
            last_failure: None,
            link: None,
            done: PartitionCounters::default(),
        };
        Self { config, state: Mutex::new(state), changes }
    }

    pub(crate) fn config(&self) -> &PartitionConfig {
        &self.config
    }

    /// Its link, while it is ready.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.lock().link.clone()
    }

    pub(crate) fn status(&self) -> PartitionStatus {
        let state = self.lock();
        let load = state.link.as_ref().map(|link| link.load()).unwrap_or_default();
        PartitionStatus {
            id: self.config.id.clone(),
            model: self.config.model.clone(),
            zone: self.config.zone.clone(),
            state: state.state.clone(),
            epoch: state.epoch,
            pid: state.pid,
            failures: state.failures,
            last_failure: state.last_failure.clone(),
            load: PartitionLoad {
                running: load.running,
                waiting: load.waiting,
                blocks_used: load.blocks_used,
                blocks_total: load.blocks_total,
                blocks_cached: load.blocks_cached,
                blocks_pinned: load.blocks_pinned,
                block_tokens: state.link.as_ref().map_or(0, |link| link.block_tokens()),
            },
            done: state.done.and(load.counters),
        }
    }

    /// Another start: counts the epoch up.
    pub(crate) fn starting(&self) -> Epoch {
        let mut state = self.lock();
        state.state = PartitionState::Starting;
        state.epoch.0 += 1;
        state.epoch
    }

    /// The program runs.
    pub(crate) fn spawned(&self, pid: Option<u32>) {
        self.lock().pid = pid;
    }

    /// The weights are being read.
    pub(crate) fn loading(&self, done: u64, total: u64) {
        self.lock().state = PartitionState::Loading { done, total };
    }

    /// Requests may come.
    pub(crate) fn ready(&self, link: Arc<Link>) {
        let mut state = self.lock();
        state.state = PartitionState::Ready;
        state.link = Some(link);
        drop(state);
        self.changed();
    }

    /// It has run well for a while.
    pub(crate) fn is_steady(&self) {
        self.lock().failures = 0;
    }

    /// The worker has ended: its requests are told, and nobody can place another one.
    pub(crate) fn ended(&self, next: PartitionState) {
        let mut state = self.lock();
        state.pid = None;
        if let PartitionState::Down { reason } = &next {
            state.failures += 1;
            state.last_failure = Some(reason.clone());
        }
        state.state = next;
        let link = state.link.take();
        if let Some(link) = &link {
            state.done = state.done.and(link.load().counters);
        }
        drop(state);
        if let Some(link) = link {
            link.close();
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding the partition")
    }
}
