//! `GET /metrics`, on an address of its own.
//!
//! Not on the clients' listener: there every route is either for a tenant or for everybody, and
//! metrics are for neither, since they tell each tenant how busy the others are. Prometheus also
//! has no tenant's key and need not trust a tenant's CA. So it is plain HTTP on an operator's
//! address, the loopback by default; who else may reach it is a matter of the network
//! (`k8s/base/network-policy.yaml`).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE as TEXT;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;
use crate::listener::{Drain, Phase};

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 16;
/// For the headers of a request.
const HEADERS_MAX: Duration = Duration::from_secs(5);
/// For a whole connection, which answers once.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Wait after an error of the socket, so that a lack of file descriptors does not spin.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct MetricsEndpoint {
    socket: TcpListener,
}

impl MetricsEndpoint {
    /// Binds; port 0 takes any.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until the drain is over: a gateway that stops can be watched while it does.
    pub async fn serve(self, metrics: Arc<Metrics>, drain: Drain) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = Arc::clone(&places).acquire_owned();
            let accepted = tokio::select! {
                biased;
                () = drain.reached(Phase::Ended) => return,
                accepted = async { (place.await, self.socket.accept().await) } => accepted,
            };
            let (place, Ok((socket, _))) = accepted else {
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            };
            let metrics = Arc::clone(&metrics);
            tokio::spawn(async move {
                // an error or a slow reader harms nobody but itself
                let _ = tokio::time::timeout(CONNECTION_MAX, answer(socket, metrics)).await;
                drop(place);
            });
        }
    }
}

async fn answer(socket: TcpStream, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

fn respond<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let say = |status: StatusCode, text: String| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        response
    };
    if request.uri().path() != "/metrics" {
        return say(StatusCode::NOT_FOUND, "there is nothing here but /metrics\n".into());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, "metrics are read\n".into());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    say(StatusCode::OK, metrics.text())
}
