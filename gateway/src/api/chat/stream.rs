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
use bytes::{Bytes, BytesMut};
use engine_api::{EngineError, Event};
use futures_util::Stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span};

use super::chunks::{self, Chunks, DONE, KEEP_ALIVE};
use crate::api::ApiBounds;
use crate::error::Refusal;
use crate::pipeline::Run;

/// A piece of the body takes no further events beyond this, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// The response, whose body is written by a task of its own.
pub fn respond(run: Run, chunks: Chunks, bounds: &ApiBounds) -> Response {
    let (pieces, taken) = mpsc::channel(bounds.frames_max.max(1));
    let reader = Reader { pieces, stall_max: bounds.reader_stall_max };
    let answer = answer(run, chunks, reader, bounds.keep_alive_every);
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
    Failed(EngineError),
    Gone,
}

/// Writes the answer to its end. A failed one ends with an error event and without `[DONE]`,
/// because a stream that just ends looks like success to clients.
async fn answer(mut run: Run, mut chunks: Chunks, reader: Reader, keep_alive_every: Duration) {
    let refused = match events(&mut run, &mut chunks, &reader, keep_alive_every).await {
        Ended::Complete => run.settle().await.err(),
        Ended::Failed(error) => Some(run.fail(error).await),
        Ended::Gone => {
            run.cancel().await;
            tracing::info!("the client went away, so the request was cancelled");
            return;
        }
    };
    let last = match refused {
        None => DONE,
        Some(refused) => error_event(&refused.refusal),
    };
    // the run is settled: whether the client still reads changes nothing
    let _ = reader.write(Piece::Last(last)).await;
}

async fn events(
    run: &mut Run,
    chunks: &mut Chunks,
    reader: &Reader,
    keep_alive_every: Duration,
) -> Ended {
    let mut silent_until = Instant::now() + keep_alive_every;
    loop {
        let next = tokio::select! {
            biased;
            () = reader.gone() => return Ended::Gone,
            next = run.next() => next,
            () = sleep_until(silent_until) => {
                if reader.write(Piece::More(KEEP_ALIVE)).await.is_err() {
                    return Ended::Gone;
                }
                silent_until = Instant::now() + keep_alive_every;
                continue;
            }
        };
        let Some(next) = next else {
            return Ended::Complete;
        };
        let (piece, failed) = piece(next, run, chunks);
        if !piece.is_empty() {
            silent_until = Instant::now() + keep_alive_every;
            if reader.write(Piece::More(piece)).await.is_err() {
                return Ended::Gone;
            }
        }
        if let Some(error) = failed {
            return Ended::Failed(error);
        }
    }
}

/// The chunks of this event and of those that are there already.
fn piece(
    first: Result<Event, EngineError>,
    run: &mut Run,
    chunks: &mut Chunks,
) -> (Bytes, Option<EngineError>) {
    let mut out = BytesMut::new();
    let mut next = Some(first);
    while let Some(event) = next {
        match event {
            Ok(event) => chunks.write(event, &mut out),
            Err(error) => return (out.freeze(), Some(error)),
        }
        next = if out.len() < PIECE_BYTES { run.next_ready() } else { None };
    }
    (out.freeze(), None)
}

fn error_event(refusal: &Refusal) -> Bytes {
    let mut out = BytesMut::new();
    chunks::event(&refusal.body(), &mut out);
    out.freeze()
}
