//! A client that knows nothing of the gateway: hyper over rustls.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

pub type Body = BoxBody<Bytes, std::io::Error>;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Http {
    One,
    Two,
}

#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Body>,
    address: SocketAddr,
    pub key: Option<String>,
}

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.to_vec()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and OpenAI's code, in one line; in Anthropic's shape the code is a detail.
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        let error = &body["error"];
        if body["type"] == "error" {
            assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
            assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
            let code = error["details"]["error_code"].as_str().unwrap().to_owned();
            return (self.status.as_u16(), code);
        }
        for field in ["message", "type", "code"] {
            assert!(error[field].is_string(), "{field} is missing in {body}");
        }
        assert!(error.get("param").is_some(), "param is missing in {body}");
        (self.status.as_u16(), error["code"].as_str().unwrap().to_owned())
    }
}

pub fn tls(roots: &RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth()
}

/// A chat of one message, and more fields.
pub fn chat(more: Value) -> Value {
    let mut body = json!({"model": "small", "messages": [{"role": "user", "content": "hi"}]});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

impl Client {
    pub fn new(address: SocketAddr, roots: &RootCertStore, http: Http, key: Option<&str>) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots))
            .https_only()
            .with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(
                "localhost".try_into().unwrap(),
            ));
        let connector = match http {
            Http::One => connector.enable_http1().build(),
            Http::Two => connector.enable_http2().build(),
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(http == Http::Two)
            .build(connector);
        Self { pool, address, key: key.map(str::to_owned) }
    }

    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let builder =
            Request::builder().method(method).uri(format!("https://{}{path}", self.address));
        match &self.key {
            Some(key) => builder.header("authorization", format!("Bearer {key}")),
            None => builder,
        }
    }

    /// The head of the response, with its body to come.
    pub async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    /// The same where the connection may break.
    pub async fn try_send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        self.pool.request(request).await
    }

    pub async fn whole(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.send(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, bytes }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.whole(self.request(Method::GET, path).body(full("")).unwrap()).await
    }

    pub async fn post_bytes(&self, bytes: impl Into<Bytes>) -> Answer {
        let request = self.request(Method::POST, "/v1/chat/completions");
        self.whole(request.body(full(bytes)).unwrap()).await
    }

    pub async fn post_to(&self, path: &str, body: Value) -> Answer {
        let request = self.request(Method::POST, path);
        self.whole(request.body(full(body.to_string())).unwrap()).await
    }

    pub async fn embed(&self, body: Value) -> Answer {
        let request = self.request(Method::POST, "/v1/embeddings");
        self.whole(request.body(full(body.to_string())).unwrap()).await
    }

    pub async fn post(&self, body: Value) -> Answer {
        self.post_bytes(body.to_string()).await
    }

    /// A streamed chat, with its body to come.
    pub async fn stream(&self, more: Value) -> Response<Incoming> {
        let mut body = chat(more);
        body["stream"] = Value::Bool(true);
        let request = self.request(Method::POST, "/v1/chat/completions");
        self.send(request.body(full(body.to_string())).unwrap()).await
    }
}
