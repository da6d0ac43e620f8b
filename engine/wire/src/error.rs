//! What can go wrong between two ends.

use std::io;

/// A frame that breaks the protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("field `{field}` {problem}")]
pub struct FrameError {
    /// Where in the frame, for example `submit.sampling.temperature`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl FrameError {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket cannot be made, reached or read.
    #[error("cannot use the socket")]
    Socket(#[source] io::Error),

    /// A directory or socket that others could write to, or a peer that runs as another user.
    #[error("the socket is not private: {0}")]
    NotPrivate(String),

    /// The path is longer than the system allows for sockets.
    #[error("the socket's path has {length} bytes; the system allows {max}")]
    PathTooLong {
        /// Bytes of the path.
        length: usize,
        /// Bytes that the system allows.
        max: usize,
    },

    /// HTTP/2 or gRPC failed below the frames.
    #[error("the connection failed: {0}")]
    Transport(String),

    /// The other end broke the protocol.
    #[error("the other end sent a bad frame")]
    Frame(#[from] FrameError),

    /// The other end speaks another version.
    #[error("the other end speaks protocol {theirs}; this one speaks {ours}")]
    Protocol {
        /// The other end's version.
        theirs: u32,
        /// Our version.
        ours: u32,
    },
}
