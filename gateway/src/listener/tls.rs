//! TLS as this gateway speaks it: 1.3, hybrid post-quantum key exchange first.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// TLS 1.2 is spoken only when it is compiled in: BSI TR-02102-2 asks new systems for 1.3.
#[cfg(not(feature = "tls12"))]
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
#[cfg(feature = "tls12")]
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Why a certificate and its key cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file holds none, or is broken.
    #[error("cannot read a certificate chain out of the PEM text")]
    Certificate(#[source] pem::Error),
    /// The chain is empty.
    #[error("the certificate file holds no certificate; it must begin with the server's own")]
    NoCertificate,
    /// The key's file holds none, or is broken.
    #[error("cannot read a private key out of the PEM text")]
    Key(#[source] pem::Error),
    /// The two do not belong together, or the key is of a kind that is not supported.
    #[error("the certificate and the private key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// The cryptography of every connection: aws-lc-rs with X25519MLKEM768 before the classical
/// groups.
pub fn provider() -> CryptoProvider {
    let kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
    ];
    CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() }
}

/// A configuration that serves this chain with this key, both in PEM.
pub fn server_config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites for these versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // one round trip of resumption is enough, and early data could be replayed
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
