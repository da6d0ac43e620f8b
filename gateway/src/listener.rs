//! The edge: TCP, TLS and HTTP, all of it bounded.
//!
//! A connection becomes a [`Peer`] and a series of requests, each with the peer among its
//! extensions. Nothing here knows what a request means.

mod bounds;
mod certificate;
mod drain;
mod peer;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

pub use bounds::Bounds;
pub use certificate::{CertificateError, Reload, ServedCertificate};
pub use drain::{Drain, Phase};
pub use peer::Peer;

/// Connections that are served at most, so that their number fits a semaphore.
const CONNECTIONS_MAX: usize = 1 << 20;

/// A bound socket that does not accept yet.
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Binds; port 0 takes any.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves `router` until the drain begins and every connection has ended. `open` counts
    /// the connections.
    pub async fn serve(
        self,
        certificate: Arc<ServedCertificate>,
        bounds: &Bounds,
        drain: Drain,
        open: Gauge,
        router: Router,
    ) {
        let connections_max = bounds.connections_max.clamp(1, CONNECTIONS_MAX);
        let connections = Arc::new(Semaphore::new(connections_max));
        let handshake_max = bounds.handshake_max;
        let edge =
            Arc::new(Edge { certificate, http: bounds.http(), handshake_max, drain, router });
        loop {
            let permit = Arc::clone(&connections).acquire_owned();
            let accepted = tokio::select! {
                biased;
                () = edge.drain.reached(Phase::Draining) => break,
                accepted = async { (permit.await, self.socket.accept().await) } => accepted,
            };
            let (permit, Ok((socket, address))) = accepted else {
                // no file descriptor is left, say: accepting again at once would only spin
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (edge, counted) = (Arc::clone(&edge), Counted::new(&open));
            tokio::spawn(async move {
                edge.connection(socket, address).await;
                drop((permit, counted));
            });
        }
        drop(self.socket);
        // all permits are back when all connections have ended
        let _ = connections.acquire_many(connections_max as u32).await;
    }
}

/// A connection among the open ones, for as long as it exists.
struct Counted(Gauge);

impl Counted {
    fn new(open: &Gauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What every connection shares.
struct Edge {
    certificate: Arc<ServedCertificate>,
    http: auto::Builder<TokioExecutor>,
    handshake_max: Duration,
    drain: Drain,
    router: Router,
}

impl Edge {
    async fn connection(&self, socket: TcpStream, address: SocketAddr) {
        // a token is a small packet, and the next one must not wait for its acknowledgement
        let _ = socket.set_nodelay(true);
        let handshake = TlsAcceptor::from(self.certificate.config()).accept(socket);
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(self.handshake_max, handshake) => handshake,
            () = self.drain.reached(Phase::Draining) => return,
        };
        match handshake {
            Ok(Ok(stream)) => {
                let peer = Peer::new(address, stream.get_ref().1);
                self.requests(stream, peer).await;
            }
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
        }
    }

    async fn requests(&self, stream: TlsStream<TcpStream>, peer: Peer) {
        let address = peer.address;
        let service = service_fn(|request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            self.router.clone().oneshot(request)
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.reached(Phase::Draining) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.drain.reached(Phase::Ended) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, error = &*error, "a connection ended with an error");
        }
    }
}
