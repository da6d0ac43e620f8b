//! Certificates: the development CA, the server's certificate, and requests to other CAs.
//!
//! Keys are ECDSA P-256, made in the data directory and never copied out of it. Only what our
//! own CA signed is ever renewed; only `--force` replaces a key.

mod authority;
mod card;
mod config;
mod request;
mod server;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

pub use authority::Authority;
pub use card::CertificateCard;
pub(crate) use config::is_name;
pub use config::{AuthorityConfig, CertsConfig, ServerConfig, hostname};
pub use request::{RequestFiles, request};
pub use server::{Due, Prepared, ServerFiles, issue, prepare};

use crate::data_dir::DataDirError;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),

    /// A certificate could not be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A file that holds no certificate.
    #[error("{} is no certificate in PEM form", .0.display())]
    Unreadable(PathBuf),

    /// A file that holds no key.
    #[error("{} is no private key in PEM form", .0.display())]
    UnreadableKey(PathBuf),

    /// A certificate and a key that do not belong together.
    #[error("{} does not belong to the key {}", certificate.display(), key.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },

    /// One half of a CA.
    #[error(
        "there is {} but not {}; put it back, or make a new CA with `gateway certs init --force`",
        present.display(),
        missing.display()
    )]
    Half {
        /// What is there.
        present: PathBuf,
        /// What is not.
        missing: PathBuf,
    },

    /// Nothing that the CA signs now would be valid.
    #[error("the CA {} has expired; `gateway certs init --force` makes a new one", .0.display())]
    AuthorityExpired(PathBuf),

    /// Making one failed.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// A file's text; `None` where it is not there.
fn read_text(file: &Path) -> Result<Option<String>, CertsError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertsError::Read { file: file.to_owned(), source }),
    }
}

fn read_key(pem: &[u8], file: &Path) -> Result<KeyPair, CertsError> {
    let unreadable = || CertsError::UnreadableKey(file.to_owned());
    let text = std::str::from_utf8(pem).map_err(|_| unreadable())?;
    KeyPair::from_pem(text).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests;
