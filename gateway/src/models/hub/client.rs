//! One request after another until the file is there or the connection is not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE,
    LOCATION, RANGE, USER_AGENT,
};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::settings::HubSettings;
use super::url::{follow, same_origin, shown};
use crate::models::FetchError;
use crate::models::part::Part;
use crate::progress::Progress;

const REDIRECTS_MAX: usize = 5;
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// A server that sends nothing for so long is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How one attempt ended.
pub(super) enum Ended {
    /// Everything is there.
    Whole,
    /// Not yet; another attempt may bring the rest.
    Early(String),
}

/// An HTTP client that follows redirects and keeps the token to itself.
pub(super) struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    token: Option<HeaderValue>,
}

impl Client {
    pub(super) fn new(settings: &HubSettings) -> Result<Self, FetchError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { http, token: settings.token().cloned() })
    }

    /// Fetches what the part is missing.
    pub(super) async fn fetch(&self, url: &Uri, part: &mut Part) -> Result<Ended, FetchError> {
        let response = match self.resolve(url, part).await? {
            Ok(response) => response,
            Err(reason) => return Ok(Ended::Early(reason)),
        };
        let status = response.status();
        match status {
            StatusCode::OK => part.restart()?,
            StatusCode::PARTIAL_CONTENT if begins_at(&response, part.bytes()) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                part.restart()?;
                return Ok(Ended::Early("the server has another part of the file".into()));
            }
            _ if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                return Ok(Ended::Early(format!("{} answered {status}", shown(url))));
            }
            _ => {
                let hint = hint(status, self.token.is_some());
                return Err(FetchError::Status { url: shown(url), status, hint });
            }
        }
        part.remember_version(strong_version(&response))?;
        receive(response, part).await
    }

    /// Follows redirects. The inner error is one that another attempt may not meet.
    async fn resolve(
        &self,
        url: &Uri,
        part: &Part,
    ) -> Result<Result<Response<Incoming>, String>, FetchError> {
        let mut url = url.clone();
        let mut token = self.token.as_ref();
        for _ in 0..=REDIRECTS_MAX {
            let request = request(&url, token, part);
            let answer = tokio::time::timeout(SILENCE_MAX, self.http.request(request)).await;
            let response = match answer {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => {
                    return Ok(Err(format!("cannot reach {}: {}", shown(&url), causes(&error))));
                }
                Err(_) => return Ok(Err(format!("{} does not answer", shown(&url)))),
            };
            if !response.status().is_redirection() {
                return Ok(Ok(response));
            }
            let refused = |reason| FetchError::Redirect { url: shown(&url), reason };
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = follow(&url, location.unwrap_or_default()).map_err(refused)?;
            if !same_origin(&url, &target) {
                // and it does not come back if a later redirect does
                token = None;
            }
            url = target;
        }
        Err(FetchError::Redirect { url: shown(&url), reason: "too often" })
    }
}

fn request(url: &Uri, token: Option<&HeaderValue>, part: &Part) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    let agent = concat!("hanse/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.clone());
    }
    let version = part.version().and_then(|version| HeaderValue::try_from(version).ok());
    if let (1.., Some(version)) = (part.bytes(), version) {
        let range = format!("bytes={}-", part.bytes());
        headers.insert(RANGE, HeaderValue::try_from(range).expect("digits make a header"));
        headers.insert(IF_RANGE, version);
    }
    request
}

/// Writes the body to the part until it ends, one way or the other.
async fn receive(response: Response<Incoming>, part: &mut Part) -> Result<Ended, FetchError> {
    let rest = header(&response, CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let total = rest.map(|rest| part.bytes().saturating_add(rest));
    let name = part.target().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut progress = Progress::new(&format!("fetching {name}"), total);
    let mut body = response.into_body();
    loop {
        let frame = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return Ok(Ended::Early(format!("the connection ended early: {}", causes(&error))));
            }
            Err(_) => return Ok(Ended::Early("the connection went silent".into())),
        };
        if let Some(bytes) = frame.data_ref() {
            part.write(bytes)?;
            progress.reached(part.bytes());
        }
    }
    if total.is_some_and(|total| total != part.bytes()) {
        return Ok(Ended::Early("the connection ended early".into()));
    }
    Ok(Ended::Whole)
}

fn header(response: &Response<Incoming>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Whether a part of the file begins where ours ends: `bytes 100-199/200`.
fn begins_at(response: &Response<Incoming>, position: u64) -> bool {
    header(response, CONTENT_RANGE)
        .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok())
        .is_some_and(|start| start == position)
}

/// Only a strong one says that two parts belong to the same bytes (RFC 9110 section 13.1.5).
fn strong_version(response: &Response<Incoming>) -> Option<&str> {
    header(response, ETAG).filter(|tag| tag.starts_with('"'))
}

fn hint(status: StatusCode, has_token: bool) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_token => {
            "; HF_TOKEN is not allowed to read this repository"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; a private or gated repository needs HF_TOKEN"
        }
        StatusCode::NOT_FOUND => "; check repository, file and revision in models.toml",
        _ => "",
    }
}

/// The whole story: hyper's own message does not name its cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn tls() -> Result<rustls::ClientConfig, FetchError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(FetchError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
