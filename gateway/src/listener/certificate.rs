//! The served certificate, exchanged without dropping a connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::signal::unix::{SignalKind, signal};

use super::tls::{self, TlsError};
use crate::telemetry::causes;

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The files do not make a TLS configuration.
    #[error("cannot serve {chain} with {key}")]
    Use {
        /// The certificate chain's file.
        chain: PathBuf,
        /// The private key's file.
        key: PathBuf,
        /// Why.
        source: TlsError,
    },
}

/// What became of a look at the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reload {
    /// The files are those that were looked at last.
    Unchanged,
    /// New connections get the new certificate; old ones keep what they have.
    Exchanged,
}

/// A certificate chain and its key in two PEM files, and what is served of them.
pub struct ServedCertificate {
    chain: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// The bytes that were tried last, good or bad: a bad pair is reported once.
    tried: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl ServedCertificate {
    /// Reads both files. The chain begins with the server's own certificate.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, CertificateError> {
        let bytes = (read(chain)?, read(key)?);
        let config = configure(chain, key, &bytes)?;
        Ok(Arc::new(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            config: ArcSwap::new(config),
            tried: Mutex::new(bytes),
        }))
    }

    /// What the next connection is served with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Looks at the files. An error leaves everything as it was: a pair of which only one
    /// file is written yet is taken at a later look.
    pub fn reload(&self) -> Result<Reload, CertificateError> {
        let bytes = (read(&self.chain)?, read(&self.key)?);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == bytes {
            return Ok(Reload::Unchanged);
        }
        let config = configure(&self.chain, &self.key, &bytes);
        *tried = bytes;
        self.config.store(config?);
        Ok(Reload::Exchanged)
    }

    /// What looks at the files every `period` and at every SIGHUP, for ever.
    pub fn watch(
        self: &Arc<Self>,
        period: Duration,
    ) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let mut hangups = signal(SignalKind::hangup())?;
        let served = Arc::clone(self);
        Ok(async move {
            let mut ticks = tokio::time::interval(period);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = hangups.recv() => {}
                }
                served.look();
            }
        })
    }

    fn look(&self) {
        match self.reload() {
            Ok(Reload::Unchanged) => {}
            Ok(Reload::Exchanged) => tracing::info!("the certificate was exchanged"),
            Err(error) => tracing::error!(
                error = causes(&error),
                "the certificate was not exchanged, the old one is still served"
            ),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn configure(
    chain: &Path,
    key: &Path,
    bytes: &(Vec<u8>, Vec<u8>),
) -> Result<Arc<ServerConfig>, CertificateError> {
    tls::server_config(&bytes.0, &bytes.1).map_err(|source| CertificateError::Use {
        chain: chain.to_owned(),
        key: key.to_owned(),
        source,
    })
}
