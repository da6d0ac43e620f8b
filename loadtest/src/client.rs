//! One HTTPS client of the server under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::chunk::{self, Chunk, Tokens};
use crate::sample::{Answer, Failure, Sample};
use crate::sse::Decoder;

/// The most bytes that are read of a body that is not streamed.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The most pieces of text of one answer.
const PIECES_MAX: usize = 1 << 20;
/// The most bytes of text of one answer.
const TEXT_BYTES_MAX: usize = 16 << 20;

type Connector = HttpsConnector<HttpConnector>;

/// Where a server is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where the API is, `/v1` included.
    pub base_url: String,
    /// The bearer key.
    pub key: Option<String>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// HTTP version, 1 or 2.
    pub http: u8,
    /// Whether an answered request's connection is used again. It matters to HTTP/1.1 only.
    pub keeps_connections: bool,
    /// After which a request has failed.
    pub timeout: Duration,
}

/// Sends requests and times their answers. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    completions: Uri,
    models: Uri,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Client {
    /// Reads certificates and key; connects to nothing yet.
    pub fn new(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let base = endpoint.base_url.trim_end_matches('/');
        let uri = |path| {
            let whole = format!("{base}/{path}");
            whole.parse().with_context(|| format!("`{}` is not a URL", endpoint.base_url))
        };
        let mut http = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        http.http2_only(endpoint.http == 2);
        if !endpoint.keeps_connections {
            http.pool_max_idle_per_host(0);
        }
        Ok(Self {
            http: http.build(connector(endpoint)?),
            completions: uri("chat/completions")?,
            models: uri("models")?,
            authorization: endpoint.key.as_deref().map(bearer).transpose()?,
            timeout: endpoint.timeout,
        })
    }

    /// The first model of the server's list.
    pub async fn first_model(&self) -> anyhow::Result<String> {
        let request = self.request(Method::GET, &self.models, Bytes::new());
        let response = tokio::time::timeout(self.timeout, self.http.request(request)).await;
        let response = response.context("timeout")?.context("cannot reach the server")?;
        let status = response.status();
        let body = read(response).await.context("the list of models broke off")?;
        if status != StatusCode::OK {
            bail!("{}", status_failure(status, &body));
        }
        let list: serde_json::Value = serde_json::from_slice(&body).context("not JSON")?;
        let model = list["data"][0]["id"].as_str().context("the list of models is empty")?;
        Ok(model.to_string())
    }

    /// Sends one chat completion now and reads its answer to the end. Times count from
    /// `intended`.
    pub async fn chat(&self, body: Bytes, intended: Instant) -> Sample {
        let lag = intended.elapsed();
        let exchange = self.exchange(body, intended);
        let outcome = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Timeout),
        };
        Sample { lag, outcome }
    }

    async fn exchange(&self, body: Bytes, intended: Instant) -> Result<Answer, Failure> {
        let request = self.request(Method::POST, &self.completions, body);
        let response = self.http.request(request).await.map_err(|_| Failure::Connection)?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = read(response).await.unwrap_or_default();
            return Err(status_failure(status, &body));
        }
        let mut body = response.into_body();
        let mut events = Decoder::default();
        let mut timing = Timing::new(intended);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::Connection)?;
            let Some(bytes) = frame.data_ref() else { continue };
            let arrived = Instant::now();
            for event in events.push(bytes).map_err(|_| Failure::Malformed)? {
                match Chunk::parse(&event).ok_or(Failure::Malformed)? {
                    Chunk::Done => return Ok(timing.finish(arrived)),
                    Chunk::Failed(code) => return Err(Failure::Stream(code)),
                    Chunk::Delta { text, usage } => timing.add(&text, usage, arrived)?,
                }
            }
        }
        Err(Failure::EndedEarly)
    }

    fn request(&self, method: Method, uri: &Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// When the pieces of one answer came.
struct Timing {
    intended: Instant,
    first: Option<Instant>,
    last: Instant,
    gaps: Vec<Duration>,
    pieces: u64,
    tokens: Option<Tokens>,
    text: String,
}

impl Timing {
    fn new(intended: Instant) -> Self {
        let (gaps, text) = (Vec::new(), String::new());
        Self { intended, first: None, last: intended, gaps, pieces: 0, tokens: None, text }
    }

    fn add(&mut self, text: &str, usage: Option<Tokens>, arrived: Instant) -> Result<(), Failure> {
        self.tokens = usage.or(self.tokens);
        if text.is_empty() {
            return Ok(());
        }
        if self.text.len() + text.len() > TEXT_BYTES_MAX {
            return Err(Failure::Malformed);
        }
        self.text.push_str(text);
        match self.first {
            None => self.first = Some(arrived),
            Some(_) if self.gaps.len() == PIECES_MAX => return Err(Failure::Malformed),
            Some(_) => self.gaps.push(arrived - self.last),
        }
        self.last = arrived;
        self.pieces += 1;
        Ok(())
    }

    fn finish(self, ended: Instant) -> Answer {
        Answer {
            first: self.first.unwrap_or(ended) - self.intended,
            total: ended - self.intended,
            gaps: self.gaps,
            tokens: self.tokens.unwrap_or(Tokens { prompt: 0, output: self.pieces }),
            text: self.text,
        }
    }
}

fn status_failure(status: StatusCode, body: &[u8]) -> Failure {
    Failure::Status(status.as_u16(), chunk::error_name(body))
}

async fn read(response: Response<Incoming>) -> Option<Bytes> {
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    body.ok().map(|body| body.to_bytes())
}

fn bearer(key: &str) -> anyhow::Result<HeaderValue> {
    let value = HeaderValue::from_str(&format!("Bearer {key}"));
    let mut value = value.context("the key holds characters that no header may hold")?;
    value.set_sensitive(true);
    Ok(value)
}

fn connector(endpoint: &Endpoint) -> anyhow::Result<Connector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS version")?
        .with_root_certificates(roots(endpoint.ca.as_deref())?)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match endpoint.http {
        2 => connector.enable_http2().wrap_connector(tcp),
        _ => connector.enable_http1().wrap_connector(tcp),
    })
}

fn roots(ca: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let unreadable = || format!("cannot read certificates from {}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
        // a system's bundle may hold what webpki does not take; a wrong file ends up empty
        roots.add_parsable_certificates(certificate);
    }
    if roots.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(roots)
}
