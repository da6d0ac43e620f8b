//! What TLS says of the other side.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{NamedGroup, ProtocolVersion, ServerConnection};
use rustls_pki_types::CertificateDer;

/// The other end of a connection. Nothing in it comes from a request: a header cannot change
/// who the peer is.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection comes from; a proxy's address if there is one before us.
    pub address: SocketAddr,
    /// The version of TLS.
    pub version: ProtocolVersion,
    /// The key exchange, for example X25519MLKEM768.
    pub key_exchange: Option<NamedGroup>,
    /// The client's verified certificate chain, its own first. Empty without client
    /// certificates.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

impl Peer {
    /// `connection` has finished its handshake.
    pub(super) fn new(address: SocketAddr, connection: &ServerConnection) -> Self {
        let chain = connection.peer_certificates().unwrap_or_default();
        Self {
            address,
            version: connection.protocol_version().expect("the handshake is over"),
            key_exchange: connection.negotiated_key_exchange_group().map(|group| group.name()),
            certificates: chain.iter().map(|der| der.clone().into_owned()).collect(),
        }
    }
}
