//! One request on one link.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use engine_api::{EngineError, Placement};
use engine_wire::StreamId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Link;
use crate::journal::Said;

/// What a worker says of a request.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Word {
    Said(Said),
    /// The last word.
    Failed(EngineError),
}

/// Why nothing more comes, although nothing has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// The reader was too far behind; the worker has forgotten the request.
    Paused,
    /// The worker is gone.
    Lost {
        /// Whether the request may have been the reason.
        charged: bool,
    },
}

impl Ended {
    /// Whether the request may have been the reason.
    pub(crate) fn is_charged(self) -> bool {
        self == Self::Lost { charged: true }
    }
}

/// What the link and the attempt both know.
pub(super) struct Fate {
    ended: OnceLock<Ended>,
    pub(super) on_probation: AtomicBool,
}

impl Fate {
    pub(super) fn new(on_probation: bool) -> Self {
        Self { ended: OnceLock::new(), on_probation: AtomicBool::new(on_probation) }
    }

    /// Says why; must come before the sender of the events is dropped.
    pub(super) fn end(&self, ended: Ended) {
        // a second reason changes nothing: the first one ended it
        let _ = self.ended.set(ended);
    }
}

/// The link's side of an attempt.
pub(super) struct Opened {
    pub(super) events: mpsc::Sender<Word>,
    pub(super) fate: Arc<Fate>,
    pub(super) probation: Option<OwnedSemaphorePermit>,
    pub(super) tokens: u32,
}

impl Opened {
    /// Ends the probation after `enough` tokens. Counted here and not where they are read,
    /// so that a slow reader cannot keep the place.
    pub(super) fn count_token(&mut self, enough: u32) {
        self.tokens = self.tokens.saturating_add(1);
        if self.tokens >= enough && self.probation.take().is_some() {
            self.fate.on_probation.store(false, Ordering::Relaxed);
        }
    }
}

/// The request's side. Dropping it cancels what still runs.
pub(crate) struct Attempt {
    link: Arc<Link>,
    stream: StreamId,
    events: mpsc::Receiver<Word>,
    fate: Arc<Fate>,
}

impl Attempt {
    pub(super) fn new(
        link: Arc<Link>,
        stream: StreamId,
        events: mpsc::Receiver<Word>,
        fate: Arc<Fate>,
    ) -> Self {
        Self { link, stream, events, fate }
    }

    /// The next word, in order; what was received before the end comes before the end.
    pub(crate) async fn next(&mut self) -> Result<Word, Ended> {
        match self.events.recv().await {
            Some(word) => Ok(word),
            // the sender is dropped without a reason only when the link itself is
            None => Err(*self.fate.ended.get().unwrap_or(&Ended::Lost { charged: false })),
        }
    }

    /// What it runs on.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Where it runs.
    pub(crate) fn placement(&self) -> &Placement {
        self.link.placement()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.link.withdraw(self.stream);
    }
}
