//! The streamed answer: from the engine's events to a body that a slow reader cannot swell.
//!
//! A task takes the events and hands pieces of the body over a short channel. A reader that
//! does not read fills the channel, and the task stops taking events; other requests go on. A
//! reader that goes away closes the channel, and the task cancels the run.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use engine_api::{EngineError, Event};
use futures_util::Stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span};

use super::ApiBounds;
use super::runs::Runs;
use crate::error::Refusal;

/// A comment, which clients skip: it keeps a silent connection open.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// How OpenAI's older streams end.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// Writes the events of an answer as an endpoint's clients read them.
pub trait EventWriter: Send + 'static {
    /// Appends what an event of the prompt with this index says, which may be nothing.
    fn write(&mut self, prompt: usize, event: Event, out: &mut BytesMut);

    /// Appends what waits for another event to be written with. Called where none is there.
    fn flush(&mut self, _out: &mut BytesMut) {}

    /// Appends the end of a complete answer. A failed one never has it.
    fn done(&mut self, out: &mut BytesMut);

    /// Appends the end of an answer that failed.
    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut);

    /// What keeps a silent connection open.
    fn keep_alive(&self) -> Bytes {
        KEEP_ALIVE
    }
}

/// Appends one event without a name. JSON holds no line end, so it is one `data` line.
pub fn event(data: &impl Serialize, out: &mut BytesMut) {
    out.put_slice(b"data: ");
    serde_json::to_writer(out.writer(), data).expect("strings, numbers and arrays become JSON");
    out.put_slice(b"\n\n");
}

/// Appends one event with a name.
pub fn named_event(name: &str, data: &impl Serialize, out: &mut BytesMut) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\n");
    event(data, out);
}

/// A piece of the body takes no further events beyond this, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// The response, whose body is written by a task of its own.
pub fn respond(runs: Runs, writer: impl EventWriter, bounds: &ApiBounds) -> Response {
    let (pieces, taken) = mpsc::channel(bounds.frames_max.max(1));
    let reader = Reader { pieces, stall_max: bounds.reader_stall_max };
    let answer = answer(runs, writer, reader, bounds.keep_alive_every);
    tokio::spawn(answer.instrument(Span::current()));
    let mut response = Response::new(Body::from_stream(Pieces { taken, ended: false }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // for proxies that would gather the stream before they pass it on
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Part of the body.
enum Piece {
    More(Bytes),
    /// The last one.
    Last(Bytes),
}

/// The body. One that stops without a last piece breaks the connection, because an end in
/// good order would look like success.
struct Pieces {
    taken: mpsc::Receiver<Piece>,
    ended: bool,
}

/// The answer was given up.
#[derive(Debug, thiserror::Error)]
#[error("the answer ended before its end")]
struct Broken;

impl Stream for Pieces {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let taken = ready!(self.taken.poll_recv(context));
        Poll::Ready(match taken {
            Some(Piece::More(bytes)) => Some(Ok(bytes)),
            Some(Piece::Last(bytes)) => {
                self.ended = true;
                Some(Ok(bytes))
            }
            None if self.ended => None,
            None => {
                self.ended = true;
                Some(Err(Broken))
            }
        })
    }
}

/// The way to the client.
struct Reader {
    pieces: mpsc::Sender<Piece>,
    stall_max: Duration,
}

/// The client went away, or read nothing for too long.
struct Gone;

impl Reader {
    async fn write(&self, piece: Piece) -> Result<(), Gone> {
        self.pieces.send_timeout(piece, self.stall_max).await.map_err(|_| Gone)
    }

    async fn gone(&self) {
        self.pieces.closed().await;
    }
}

/// How the events went.
enum Ended {
    /// To their end.
    Complete,
    /// The run of this prompt failed.
    Failed(usize, EngineError),
    Gone,
}

/// Writes the answer to its end. A failed one ends with an error event and never in good order,
/// because a stream that just ends looks like success to clients.
async fn answer(
    mut runs: Runs,
    mut writer: impl EventWriter,
    reader: Reader,
    keep_alive_every: Duration,
) {
    let refused = match events(&mut runs, &mut writer, &reader, keep_alive_every).await {
        Ended::Complete => runs.settle().await.err(),
        Ended::Failed(prompt, error) => Some(runs.fail(prompt, error).await),
        Ended::Gone => {
            runs.cancel().await;
            tracing::info!("the client went away, so the request was cancelled");
            return;
        }
    };
    let mut last = BytesMut::new();
    match refused {
        None => writer.done(&mut last),
        Some(refused) => writer.fail(&refused.refusal, &mut last),
    }
    // the run is settled: whether the client still reads changes nothing
    let _ = reader.write(Piece::Last(last.freeze())).await;
}

async fn events(
    runs: &mut Runs,
    writer: &mut impl EventWriter,
    reader: &Reader,
    keep_alive_every: Duration,
) -> Ended {
    let mut silent_until = Instant::now() + keep_alive_every;
    loop {
        let next = tokio::select! {
            biased;
            () = reader.gone() => return Ended::Gone,
            next = runs.next() => next,
            () = sleep_until(silent_until) => {
                if reader.write(Piece::More(writer.keep_alive())).await.is_err() {
                    return Ended::Gone;
                }
                silent_until = Instant::now() + keep_alive_every;
                continue;
            }
        };
        let Some(next) = next else {
            return Ended::Complete;
        };
        let (piece, failed) = piece(next, runs, writer);
        if !piece.is_empty() {
            silent_until = Instant::now() + keep_alive_every;
            if reader.write(Piece::More(piece)).await.is_err() {
                return Ended::Gone;
            }
        }
        if let Some((prompt, error)) = failed {
            return Ended::Failed(prompt, error);
        }
    }
}

/// What this event says, and those that are there already.
fn piece(
    first: (usize, Result<Event, EngineError>),
    runs: &mut Runs,
    writer: &mut impl EventWriter,
) -> (Bytes, Option<(usize, EngineError)>) {
    let mut out = BytesMut::new();
    let mut next = Some(first);
    while let Some((prompt, event)) = next {
        match event {
            Ok(event) => writer.write(prompt, event, &mut out),
            Err(error) => return (out.freeze(), Some((prompt, error))),
        }
        if out.len() >= PIECE_BYTES {
            return (out.freeze(), None);
        }
        next = runs.next_ready();
    }
    writer.flush(&mut out);
    (out.freeze(), None)
}
