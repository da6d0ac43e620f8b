//! One worker that is ready, as the requests see it.
//!
//! A link ends with its connection and never comes back: the next start of the worker is
//! another link, with a higher epoch.

mod attempt;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use engine_api::{EngineError, Placement, RequestId, Submission, TokenId, ZoneId};
use engine_wire::{Embed, FrameError, Load, Outbox, Step, StreamId, Submit};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub(crate) use attempt::{Attempt, Ended, Word};
use attempt::{Fate, Opened};

use crate::journal::Said;

/// A request that lost a worker is cleared after so many tokens on another one: what died
/// with the first one, a few tokens at most, has then been computed again.
const PROBATION_TOKENS: u32 = 4;

/// What a link is made of.
pub(crate) struct LinkConfig {
    /// Where it runs: from the operator and from the worker's greeting.
    pub(crate) placement: Placement,
    /// Positions of one block of the worker's.
    pub(crate) block_tokens: u32,
    /// Where frames go.
    pub(crate) outbox: Outbox,
    /// Requests at most.
    pub(crate) requests_max: usize,
    /// Events of one request that may wait for its reader.
    pub(crate) stream_events_max: usize,
}

/// One connection to one start of one worker.
pub(crate) struct Link {
    config: LinkConfig,
    state: Mutex<State>,
    /// The one place for a request on which a worker has died.
    probation: Arc<Semaphore>,
}

struct State {
    open: HashMap<StreamId, Opened>,
    next_stream: u64,
    /// Sequence number of the last frame.
    sequence: u64,
    load: Load,
    closed: bool,
}

/// Why a request was not sent.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The worker is gone; another one may be there.
    Closed,
    /// It holds as many requests as it may.
    Full,
    /// The request is not for this worker, or does not fit into a frame.
    Refused(EngineError),
}

/// The worker broke the protocol, and cannot be trusted any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// A frame of a start that has not happened.
    #[error("the worker sent a frame of epoch {got} in epoch {expected}")]
    Epoch {
        /// This link's.
        expected: u64,
        /// The frame's.
        got: u64,
    },
    /// A frame is missing or came twice.
    #[error("the worker sent frame {got} after frame {last}")]
    Sequence {
        /// The last one.
        last: u64,
        /// This one.
        got: u64,
    },
}

impl Link {
    pub(crate) fn new(config: LinkConfig) -> Arc<Self> {
        let state = State {
            open: HashMap::new(),
            next_stream: 1,
            sequence: 0,
            load: Load::default(),
            closed: false,
        };
        let probation = Arc::new(Semaphore::new(1));
        Arc::new(Self { config, state: Mutex::new(state), probation })
    }

    /// Where its requests run.
    pub(crate) fn placement(&self) -> &Placement {
        &self.config.placement
    }

    /// Requests that it has: what the worker says, or what we have sent where that is more.
    pub(crate) fn burden(&self) -> usize {
        let state = self.lock();
        let said = state.load.running as usize + state.load.waiting as usize;
        said.max(state.open.len())
    }

    /// The place for a suspect, when it is free; `None` when the link has ended.
    pub(crate) async fn probation(&self) -> Option<OwnedSemaphorePermit> {
        self.probation.clone().acquire_owned().await.ok()
    }

    /// Sends a request. Suspects bring the permit of their place along.
    pub(crate) fn open(
        self: &Arc<Self>,
        submission: Submission,
        resume: Vec<Vec<TokenId>>,
        probation: Option<OwnedSemaphorePermit>,
    ) -> Result<Attempt, OpenError> {
        let whose = (submission.id.clone(), submission.zones.clone());
        let room = self.config.stream_events_max;
        self.open_with((&whose.0, &whose.1), room, probation, |outbox, stream| {
            outbox.submit(Submit { stream, submission, resume })
        })
    }

    /// Sends a request for vectors: its id and its zones, and how many inputs it has at most.
    pub(crate) fn embed(
        self: &Arc<Self>,
        whose: (&RequestId, &[ZoneId]),
        inputs: usize,
        probation: Option<OwnedSemaphorePermit>,
        embed: impl FnOnce(StreamId) -> Embed,
    ) -> Result<Attempt, OpenError> {
        // a vector for each, and the end: its reader need not keep up
        self.open_with(whose, inputs + 1, probation, |outbox, stream| outbox.embed(embed(stream)))
    }

    fn open_with(
        self: &Arc<Self>,
        (id, zones): (&RequestId, &[ZoneId]),
        room: usize,
        probation: Option<OwnedSemaphorePermit>,
        send: impl FnOnce(&Outbox, StreamId) -> Result<(), FrameError>,
    ) -> Result<Attempt, OpenError> {
        let zone = &self.config.placement.zone;
        // placement has looked already; residency is worth a second look where it is decided
        if !zones.contains(zone) {
            tracing::error!(request = %id, %zone, "a zone that is not permitted");
            return Err(OpenError::Refused(EngineError::Internal));
        }
        let (sender, events) = mpsc::channel(room);
        let mut state = self.lock();
        if state.closed {
            return Err(OpenError::Closed);
        }
        if state.open.len() >= self.config.requests_max {
            return Err(OpenError::Full);
        }
        let stream = StreamId(state.next_stream);
        state.next_stream += 1;
        send(&self.config.outbox, stream).map_err(|FrameError { field, problem }| {
            tracing::error!(field, problem, "the request does not fit into a frame");
            OpenError::Refused(EngineError::Internal)
        })?;
        let fate = Arc::new(Fate::new(probation.is_some()));
        let opened = Opened { events: sender, fate: fate.clone(), probation, tokens: 0 };
        state.open.insert(stream, opened);
        drop(state);
        Ok(Attempt::new(self.clone(), stream, events, fate))
    }

    /// Hands out what a step made, and says how many events that were. Frames of an older
    /// epoch are ignored; they can have no effect on this one's requests.
    pub(crate) fn take(&self, step: Step) -> Result<usize, LinkError> {
        let events = step.events();
        let epoch = self.config.placement.epoch;
        if step.epoch < epoch {
            return Ok(events);
        }
        if step.epoch > epoch {
            return Err(LinkError::Epoch { expected: epoch.0, got: step.epoch.0 });
        }
        let mut state = self.lock();
        if step.sequence != state.sequence + 1 {
            return Err(LinkError::Sequence { last: state.sequence, got: step.sequence });
        }
        state.sequence = step.sequence;
        for (stream, cached_tokens) in step.started {
            self.deliver(&mut state, stream, Word::Said(Said::Started { cached_tokens }));
        }
        for (stream, token) in step.tokens {
            self.deliver(&mut state, stream, Word::Said(Said::Token(token)));
        }
        for (stream, finished) in step.finished {
            self.deliver(&mut state, stream, Word::Said(Said::Finished(finished)));
        }
        for (stream, embedded) in step.embedded {
            self.deliver(&mut state, stream, Word::Said(Said::Embedded(embedded)));
        }
        for (stream, usage, timings) in step.usage {
            self.deliver(&mut state, stream, Word::Said(Said::Usage(usage, timings)));
            state.open.remove(&stream);
        }
        for (stream, error) in step.failed {
            self.deliver(&mut state, stream, Word::Failed(error));
            state.open.remove(&stream);
        }
        Ok(events)
    }

    /// Gives a word to a request's reader, or pauses the request when the reader is too far
    /// behind. Words of requests that nobody wants any more are dropped.
    fn deliver(&self, state: &mut State, stream: StreamId, word: Word) {
        let Some(opened) = state.open.get_mut(&stream) else {
            return;
        };
        let is_token = matches!(word, Word::Said(Said::Token(_)));
        match opened.events.try_send(word) {
            Ok(()) if is_token => opened.count_token(PROBATION_TOKENS),
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                opened.fate.end(Ended::Paused);
                state.open.remove(&stream);
                self.config.outbox.cancel(stream);
            }
            // the reader is about to take the request back
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Positions of one block of the worker's.
    pub(crate) fn block_tokens(&self) -> u32 {
        self.config.block_tokens
    }

    /// The worker says how busy it is. What comes after the end is not counted: the end has
    /// taken the sum.
    pub(crate) fn set_load(&self, load: Load) {
        self.lock().load = load;
    }

    /// What the worker last said.
    pub(crate) fn load(&self) -> Load {
        self.lock().load
    }

    /// The connection is gone, and with it everything that was not delivered.
    ///
    /// The death is charged to the request on probation, if there is one: a worker that died
    /// twice in a row most likely died of the same request. Else everything that ran is a
    /// suspect.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.probation.close();
        let on_probation = |opened: &Opened| opened.fate.on_probation.load(Ordering::Relaxed);
        let any = state.open.values().any(on_probation);
        for (_, opened) in state.open.drain() {
            let charged = !any || on_probation(&opened);
            opened.fate.end(Ended::Lost { charged });
        }
        self.config.outbox.close();
    }

    /// Takes a request back, if the worker still has it.
    fn withdraw(&self, stream: StreamId) {
        if self.lock().open.remove(&stream).is_some() {
            self.config.outbox.cancel(stream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding the link")
    }
}

#[cfg(test)]
mod tests;
