//! Frames on their way from the fleet to a worker.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use prost::Message;

use crate::bounds::{FRAME_BYTES_MAX, PROTOCOL};
use crate::{Down, Embed, FrameError, Hello, StreamId, Submit, proto};

/// Takes frames without waiting, so that a `Drop` can cancel.
///
/// It is bounded by what it is for: the caller bounds its open requests, each has at most one
/// frame here (cancelling one that was not sent yet removes it), and credits are summed up.
#[derive(Clone)]
pub struct Outbox {
    queue: Arc<Mutex<Queue>>,
}

struct Queue {
    frames: VecDeque<proto::Down>,
    credit: u32,
    closed: bool,
    reader: Option<Waker>,
}

impl Outbox {
    /// An outbox whose first frame is the greeting.
    pub(crate) fn new(credit: u32) -> (Self, Outgoing) {
        let hello = Down::Hello(Hello { protocol: PROTOCOL, credit });
        let queue = Queue {
            frames: VecDeque::from([hello.into()]),
            credit: 0,
            closed: false,
            reader: None,
        };
        let queue = Arc::new(Mutex::new(queue));
        (Self { queue: queue.clone() }, Outgoing { queue })
    }

    /// An outbox that nobody reads, for tests of what fills it.
    pub fn detached() -> Self {
        let queue = Queue { frames: VecDeque::new(), credit: 0, closed: false, reader: None };
        Self { queue: Arc::new(Mutex::new(queue)) }
    }

    /// Sends a request. An error says that it is larger than a frame may be.
    pub fn submit(&self, submit: Submit) -> Result<(), FrameError> {
        self.send(Down::Submit(Box::new(submit)), "submit")
    }

    /// Sends a request for vectors. An error says that it is larger than a frame may be.
    pub fn embed(&self, embed: Embed) -> Result<(), FrameError> {
        self.send(Down::Embed(Box::new(embed)), "embed")
    }

    fn send(&self, down: Down, field: &'static str) -> Result<(), FrameError> {
        let frame = proto::Down::from(down);
        let bytes = frame.encoded_len();
        if bytes > FRAME_BYTES_MAX {
            let problem = format!("has {bytes} bytes, at most {FRAME_BYTES_MAX}");
            return Err(FrameError::new(field, problem));
        }
        self.push(frame);
        Ok(())
    }

    /// Takes a request back: out of the queue where it still is, else by a frame.
    pub fn cancel(&self, stream: StreamId) {
        let mut queue = lock(&self.queue);
        let waits = |frame: &proto::Down| match &frame.frame {
            Some(proto::down::Frame::Submit(submit)) => submit.stream == stream.0,
            Some(proto::down::Frame::Embed(embed)) => embed.stream == stream.0,
            _ => false,
        };
        match queue.frames.iter().position(waits) {
            Some(place) => {
                queue.frames.remove(place);
            }
            None => queue.push(Down::Cancel(stream).into()),
        }
    }

    /// Grants more events.
    pub fn credit(&self, events: u32) {
        let mut queue = lock(&self.queue);
        queue.credit = queue.credit.saturating_add(events);
        queue.wake();
    }

    /// Asks the worker to end the connection after the last request.
    pub fn drain(&self) {
        self.push(Down::Drain.into());
    }

    /// Ends the connection: what waits is sent, later frames are dropped.
    pub fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.wake();
    }

    fn push(&self, frame: proto::Down) {
        lock(&self.queue).push(frame);
    }
}

impl Queue {
    fn push(&mut self, frame: proto::Down) {
        if !self.closed {
            self.frames.push_back(frame);
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().expect("no one panics while holding the queue")
}

/// The other side of an [`Outbox`], which the connection reads.
pub(crate) struct Outgoing {
    queue: Arc<Mutex<Queue>>,
}

impl Stream for Outgoing {
    type Item = proto::Down;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<proto::Down>> {
        let mut queue = lock(&self.queue);
        if let Some(frame) = queue.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if queue.credit > 0 {
            let events = std::mem::take(&mut queue.credit);
            return Poll::Ready(Some(Down::Credit(events).into()));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.frames.clear();
    }
}

#[cfg(test)]
mod tests;
