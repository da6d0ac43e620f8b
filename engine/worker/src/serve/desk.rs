//! What the computing thread knows of one connection.

use std::collections::HashMap;

use engine_api::{EngineError, Epoch, RequestId};
use engine_wire::bounds::{DIMENSIONS_MAX, STEP_EVENTS_MAX, STEP_NUMBERS_MAX};
use engine_wire::{Step, StreamId};

use super::mailbox::{Mailbox, Undeliverable};
use crate::CoreEvent;

/// The requests of one connection, and the frame that is being filled.
pub(super) struct Desk {
    mailbox: Mailbox,
    streams: HashMap<StreamId, RequestId>,
    requests: HashMap<RequestId, StreamId>,
    frame: Step,
    draining: bool,
}

impl Desk {
    pub(super) fn new(mailbox: Mailbox, epoch: Epoch, draining: bool) -> Self {
        let (streams, requests) = Default::default();
        Self { mailbox, streams, requests, frame: Step::empty(epoch, 1), draining }
    }

    /// Takes no new requests from now on.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Drained, and everything said.
    pub(super) fn is_done(&self) -> bool {
        self.draining && self.requests.is_empty() && self.frame.events() == 0
    }

    /// Whether a request of this id is running.
    pub(super) fn has(&self, request: &RequestId) -> bool {
        self.requests.contains_key(request)
    }

    /// Whether a stream is this request, and still wanted.
    pub(super) fn is_open(&self, stream: StreamId, request: &RequestId) -> bool {
        self.streams.get(&stream) == Some(request)
    }

    /// A request was taken.
    pub(super) fn open(&mut self, stream: StreamId, request: RequestId) {
        self.streams.insert(stream, request.clone());
        self.requests.insert(request, stream);
    }

    /// Forgets a request that the fleet does not want any more. `None` when it has ended.
    pub(super) fn cancel(&mut self, stream: StreamId) -> Option<RequestId> {
        let request = self.streams.remove(&stream)?;
        self.requests.remove(&request);
        Some(request)
    }

    /// A request that was never taken.
    pub(super) fn refuse(
        &mut self,
        stream: StreamId,
        error: EngineError,
    ) -> Result<(), Undeliverable> {
        self.make_room()?;
        self.frame.failed.push((stream, error));
        Ok(())
    }

    /// Adds what a step made. Events of requests that were cancelled are dropped.
    pub(super) fn add(
        &mut self,
        request: &RequestId,
        event: CoreEvent,
    ) -> Result<(), Undeliverable> {
        self.make_room()?;
        let Some(&stream) = self.requests.get(request) else {
            return Ok(());
        };
        match event {
            CoreEvent::Started { cached_tokens } => {
                self.frame.started.push((stream, cached_tokens));
            }
            CoreEvent::Token(token) => self.frame.tokens.push((stream, token)),
            CoreEvent::Finished(finished) => self.frame.finished.push((stream, finished)),
            CoreEvent::Embedded(embedded) => self.frame.embedded.push((stream, embedded)),
            CoreEvent::Usage(usage, timings) => {
                self.frame.usage.push((stream, usage, timings));
                self.end(request);
            }
            CoreEvent::Failed(error) => {
                self.frame.failed.push((stream, error));
                self.end(request);
            }
        }
        Ok(())
    }

    fn end(&mut self, request: &RequestId) {
        if let Some(stream) = self.requests.remove(request) {
            self.streams.remove(&stream);
        }
    }

    /// A step larger than a frame is sent in several.
    fn make_room(&mut self) -> Result<(), Undeliverable> {
        let is_full = self.frame.events() >= STEP_EVENTS_MAX
            || self.frame.numbers() > STEP_NUMBERS_MAX - DIMENSIONS_MAX;
        if is_full { self.send() } else { Ok(()) }
    }

    /// Hands the frame over, if anything is in it.
    pub(super) fn send(&mut self) -> Result<(), Undeliverable> {
        if self.frame.events() == 0 {
            return Ok(());
        }
        let next = Step::empty(self.frame.epoch, self.frame.sequence + 1);
        self.mailbox.put(std::mem::replace(&mut self.frame, next))
    }

    /// Everything that still runs, when the connection is gone.
    pub(super) fn close(self) -> impl Iterator<Item = RequestId> {
        self.requests.into_keys()
    }
}
