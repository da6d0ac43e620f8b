//! OTLP over HTTP with protobuf (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};

use crate::listener::tls;

/// Time for one batch, its answer included.
const SEND_MAX: Duration = Duration::from_secs(10);
/// An answer holds at most a short message, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The runtime that sends.
    #[error("cannot start a runtime for the exporter")]
    Runtime(#[source] io::Error),
    /// The endpoint, or another variable.
    #[error("the exporter's configuration is wrong")]
    Build(#[source] ExporterBuildError),
}

/// An exporter to the endpoint that the OTEL_EXPORTER_OTLP_* variables name.
pub fn exporter() -> Result<SpanExporter, ExportError> {
    let client = Sender::new().map_err(ExportError::Runtime)?;
    let builder = SpanExporter::builder().with_http().with_http_client(client);
    builder.build().map_err(ExportError::Build)
}

/// Sends from the span processor's own thread, which has no runtime, through one of its own:
/// telemetry works the same in the gateway and in a worker, and never competes with requests.
struct Sender {
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Sender {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut roots = RootCertStore::empty();
        let (_added, _ignored) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(tls::provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime, client })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = async {
            let response = self.client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        self.runtime.block_on(async { tokio::time::timeout(SEND_MAX, sent).await? })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl HttpClient for Sender {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(self.send(request)))
    }
}
