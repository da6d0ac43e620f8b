//! The fleet's end.

use std::io;
use std::path::Path;

use hyper_util::rt::TokioIo;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::bounds::{FRAME_BYTES_MAX, PROTOCOL};
use crate::proto::worker_client::WorkerClient;
use crate::{Outbox, Up, WireError, proto, socket};

/// Bytes that may be on their way before the reader has taken them.
const WINDOW_BYTES: u32 = 1 << 20;

/// One connection to a worker. Dropping it cancels all its requests.
pub struct WorkerLink {
    up: Streaming<proto::Up>,
    outbox: Outbox,
}

/// Connects to a worker's socket, checks that the same user listens there, and greets.
/// `credit` is the number of events that the worker may send ahead; it must be larger than
/// [`STEP_EVENTS_MAX`](crate::bounds::STEP_EVENTS_MAX).
pub async fn connect(path: &Path, credit: u32) -> Result<WorkerLink, WireError> {
    let stream = socket::dial(path).await?;
    // a connector that works once: a lost connection stays lost, and the fleet decides
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    // the name is never looked up
    let channel = Endpoint::from_static("http://worker")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector(connector)
        .await
        .map_err(|error| WireError::Transport(error.to_string()))?;
    let (outbox, outgoing) = Outbox::new(credit);
    let up = WorkerClient::new(channel)
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX)
        .serve(outgoing)
        .await
        .map_err(transport)?
        .into_inner();
    Ok(WorkerLink { up, outbox })
}

impl WorkerLink {
    /// The next frame; `None` when the worker has closed the connection in order.
    pub async fn next(&mut self) -> Result<Option<Up>, WireError> {
        let Some(frame) = self.up.message().await.map_err(transport)? else {
            return Ok(None);
        };
        let up = Up::try_from(frame)?;
        match &up {
            Up::Welcome(welcome) if welcome.protocol != PROTOCOL => {
                Err(WireError::Protocol { theirs: welcome.protocol, ours: PROTOCOL })
            }
            _ => Ok(Some(up)),
        }
    }

    /// Where frames to the worker go.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

pub(crate) fn transport(status: tonic::Status) -> WireError {
    WireError::Transport(format!("{:?}: {}", status.code(), status.message()))
}
