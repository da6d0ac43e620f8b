//! The worker's end.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::bounds::{FRAME_BYTES_MAX, PROTOCOL};
use crate::client::transport;
use crate::proto::worker_server::{Worker, WorkerServer};
use crate::{Down, Hello, Listener, Up, WireError, proto};

/// Frames that may wait for the socket of one connection.
const UP_FRAMES_MAX: usize = 16;
/// Connections that wait to be taken by the worker.
const CONNECTIONS_WAITING_MAX: usize = 16;
/// Calls on one HTTP/2 connection: a fleet makes one.
const CALLS_MAX: u32 = 1;

/// One fleet that has called.
pub struct Connection {
    /// Counts up from 1; never used twice in a process.
    pub id: u64,
    /// What the fleet sends.
    pub down: DownFrames,
    /// Where frames to the fleet go; waits while the socket is full. Dropping it ends the
    /// connection.
    pub up: mpsc::Sender<Up>,
}

/// Frames from a fleet, in order.
pub struct DownFrames {
    frames: Streaming<proto::Down>,
}

impl DownFrames {
    /// Reads the greeting, which must come first and speak our version.
    pub async fn hello(&mut self) -> Result<Hello, WireError> {
        match self.next().await? {
            Some(Down::Hello(hello)) if hello.protocol == PROTOCOL => Ok(hello),
            Some(Down::Hello(hello)) => {
                Err(WireError::Protocol { theirs: hello.protocol, ours: PROTOCOL })
            }
            _ => Err(crate::FrameError::new("down.frame", "must be `hello` first").into()),
        }
    }

    /// The next frame; `None` when the fleet has closed the connection in order.
    pub async fn next(&mut self) -> Result<Option<Down>, WireError> {
        match self.frames.message().await.map_err(transport)? {
            Some(frame) => Ok(Some(frame.try_into()?)),
            None => Ok(None),
        }
    }
}

/// Serves a socket: the receiver gives each connection, the future runs them all and must be
/// polled. It ends when the receiver is dropped or `until` is done.
pub fn serve(
    listener: Listener,
    until: impl Future<Output = ()> + Send,
) -> (mpsc::Receiver<Connection>, impl Future<Output = Result<(), WireError>> + Send) {
    let (connections, receiver) = mpsc::channel(CONNECTIONS_WAITING_MAX);
    let closed = connections.clone();
    let service = WorkerServer::new(Door { connections, count: AtomicU64::new(0) })
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX);
    let server = async move {
        let end = async move {
            tokio::select! { () = closed.closed() => {}, () = until => {} }
        };
        Server::builder()
            .max_concurrent_streams(CALLS_MAX)
            .serve_with_incoming_shutdown(service, listener, end)
            .await
            .map_err(|error| WireError::Transport(error.to_string()))
    };
    (receiver, server)
}

struct Door {
    connections: mpsc::Sender<Connection>,
    count: AtomicU64,
}

type UpFrames = Pin<Box<dyn Stream<Item = Result<proto::Up, Status>> + Send>>;

#[tonic::async_trait]
impl Worker for Door {
    type ServeStream = UpFrames;

    async fn serve(
        &self,
        request: Request<Streaming<proto::Down>>,
    ) -> Result<Response<UpFrames>, Status> {
        let (up, frames) = mpsc::channel(UP_FRAMES_MAX);
        let id = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let down = DownFrames { frames: request.into_inner() };
        self.connections
            .send(Connection { id, down, up })
            .await
            .map_err(|_| Status::unavailable("the worker ends"))?;
        let frames = ReceiverStream::new(frames).map(|up| Ok(up.into()));
        Ok(Response::new(Box::pin(frames)))
    }
}
