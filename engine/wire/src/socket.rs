//! Unix sockets that only our own user can reach.
//!
//! The directory has mode 0700 and the socket 0600, and both ends ask the kernel who the
//! other is: three locks, because file modes can be changed by accident.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Sleep;

use crate::WireError;

/// `sun_path` of `sockaddr_un` on Linux, less the zero at its end.
const PATH_BYTES_MAX: usize = 107;
/// How long an accept that failed (no file descriptors left) is not tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes a directory with mode 0700, or checks that an existing one has it and is ours.
pub fn private_dir(path: &Path) -> Result<(), WireError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(WireError::Socket)?;
    let found = fs::metadata(path).map_err(WireError::Socket)?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(WireError::NotPrivate(format!("its directory has mode {mode:o}, not 700")));
    }
    if found.uid() != own_uid()? {
        return Err(WireError::NotPrivate("its directory belongs to another user".into()));
    }
    Ok(())
}

/// Whether a path fits into a socket's address.
pub(crate) fn check_length(path: &Path) -> Result<(), WireError> {
    let length = path.as_os_str().len();
    if length > PATH_BYTES_MAX {
        return Err(WireError::PathTooLong { length, max: PATH_BYTES_MAX });
    }
    Ok(())
}

/// The user that this process runs as. The kernel says so of both ends of a pair of sockets.
fn own_uid() -> Result<u32, WireError> {
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().map_err(WireError::Socket)?;
    ours.set_nonblocking(true).map_err(WireError::Socket)?;
    let ours = UnixStream::from_std(ours).map_err(WireError::Socket)?;
    Ok(ours.peer_cred().map_err(WireError::Socket)?.uid())
}

/// Refuses a peer that runs as another user than `uid`.
fn check_peer(stream: &UnixStream, uid: u32) -> Result<(), WireError> {
    let theirs = stream.peer_cred().map_err(WireError::Socket)?.uid();
    if theirs != uid {
        return Err(WireError::NotPrivate(format!("the peer is user {theirs}, not {uid}")));
    }
    Ok(())
}

/// Connects, and checks who listens.
pub(crate) async fn dial(path: &Path) -> Result<UnixStream, WireError> {
    check_length(path)?;
    let stream = UnixStream::connect(path).await.map_err(WireError::Socket)?;
    check_peer(&stream, own_uid()?)?;
    Ok(stream)
}

/// A socket that waits for connections; its file goes with it.
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    uid: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Listener {
    /// Binds a path in a private directory, which is made where it does not exist. A socket
    /// file that is already there is replaced. Must be called inside a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, WireError> {
        check_length(path)?;
        if let Some(directory) = path.parent() {
            private_dir(directory)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(WireError::Socket(error));
            }
            _ => {}
        }
        let socket = UnixListener::bind(path).map_err(WireError::Socket)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(WireError::Socket)?;
        Ok(Self { socket, path: path.into(), uid: own_uid()?, pause: None })
    }
}

impl Stream for Listener {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.socket.poll_accept(cx)) {
                Ok((stream, _)) => match check_peer(&stream, self.uid) {
                    Ok(()) => return Poll::Ready(Some(Ok(stream))),
                    Err(error) => tracing::warn!(%error, "connection refused"),
                },
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // nobody can be told of a failure here, and the next bind replaces the file
        let _ = fs::remove_file(&self.path);
    }
}
