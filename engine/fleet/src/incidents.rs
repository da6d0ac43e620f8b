//! Counts of what went wrong with requests.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Incidents;

/// Counted by every request, read by whoever wants to know.
#[derive(Debug, Default)]
pub(crate) struct IncidentCounts {
    resumed: AtomicU64,
    paused: AtomicU64,
    quarantined: AtomicU64,
}

impl IncidentCounts {
    /// A request goes on elsewhere after its worker is gone.
    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request's reader was too slow.
    pub(crate) fn paused(&self) {
        self.paused.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is given up.
    pub(crate) fn quarantined(&self) {
        self.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub(crate) fn now(&self) -> Incidents {
        Incidents {
            resumed: self.resumed.load(Ordering::Relaxed),
            paused: self.paused.load(Ordering::Relaxed),
            quarantined: self.quarantined.load(Ordering::Relaxed),
        }
    }
}
