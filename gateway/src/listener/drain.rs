//! How a gateway stops: it says so, finishes what runs, and ends what does not finish.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Where in its life a gateway is. It only ever goes forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Takes connections and requests.
    Serving,
    /// Takes neither, and finishes what it has.
    Draining,
    /// Drops what is left.
    Ended,
}

/// The phase, shared by everything that acts on it.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<Phase>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }
}

impl Drain {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Resolves as soon as `phase` is reached or passed.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.0.subscribe();
        // the sender is in `self`, so it outlives this wait
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// Goes forward to `phase`; going back is not possible.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }

    /// What drains at the first SIGTERM or SIGINT, and ends at the second or `deadline` after
    /// the first, whatever comes first. Signals count from this call on.
    pub fn on_signals(&self, deadline: Duration) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let drain = self.clone();
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                // somebody else drains
                () = drain.reached(Phase::Draining) => {}
            }
            let deadline_s = deadline.as_secs();
            tracing::info!(deadline_s, "draining; a second signal ends it now");
            drain.advance(Phase::Draining);
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(deadline) => {}
            }
            drain.advance(Phase::Ended);
        })
    }
}
