//! The program against a small server of the test's own, through TLS.

#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const KEY: &str = "a-key-of-the-test";
/// How long the model `slow` takes.
const SLOW: Duration = Duration::from_millis(50);

/// A server in its own threads, with a certificate of its own.
struct Server {
    url: String,
    ca: PathBuf,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start() -> Self {
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, certified.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://{}/v1", listener.local_addr().unwrap());
        runtime.spawn(serve(listener, tokio_rustls::TlsAcceptor::from(Arc::new(tls))));
        Self { url, ca, folder, _runtime: runtime }
    }

    /// Runs the program; gives its output and the JSON that it wrote.
    fn measure(&self, arguments: &[&str]) -> (Output, Value) {
        let json = self.folder.path().join("figures.json");
        let _ = std::fs::remove_file(&json);
        let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(["--base-url", &self.url, "--ca"])
            .arg(&self.ca)
            .args(["--output-tokens", "5", "--json"])
            .arg(&json)
            .args(arguments)
            .env("OPENAI_API_KEY", KEY)
            .output()
            .unwrap();
        let figures = std::fs::read(&json).ok();
        let figures = figures.map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
        (output, figures)
    }
}

async fn serve(listener: TcpListener, tls: tokio_rustls::TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let tls = tls.clone();
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(answer);
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.headers()["authorization"] != format!("Bearer {KEY}") {
        return Ok(error(StatusCode::UNAUTHORIZED, "invalid_api_key"));
    }
    if request.uri().path() == "/v1/models" {
        return Ok(Response::new(json!({"data": [{"id": "steady"}]}).to_string().into()));
    }
    assert_eq!(request.uri().path(), "/v1/chat/completions");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["stream"], true);
    let tokens = body["max_tokens"].as_u64().unwrap();
    Ok(match body["model"].as_str().unwrap() {
        "steady" => stream(tokens, Ending::Done),
        "slow" => {
            tokio::time::sleep(SLOW).await;
            stream(tokens, Ending::Done)
        }
        "breaks" => stream(tokens, Ending::Early),
        "fails" => stream(tokens, Ending::Error),
        _ => error(StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
    })
}

enum Ending {
    Done,
    Early,
    Error,
}

fn stream(tokens: u64, ending: Ending) -> Response<Full<Bytes>> {
    let mut events = vec![json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]})];
    let text = json!({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]});
    events.extend((0..tokens).map(|_| text.clone()));
    match ending {
        Ending::Done => {
            let usage = json!({"prompt_tokens": 7, "completion_tokens": tokens});
            events.push(json!({"choices": [], "usage": usage}));
            events.push("[DONE]".into());
        }
        Ending::Early => {}
        Ending::Error => events.push(json!({"error": {"message": "m", "code": "engine_error"}})),
    }
    let line = |event: Value| match event {
        Value::String(text) => format!("data: {text}\n\n"),
        event => format!("data: {event}\n\n"),
    };
    let body: String = events.into_iter().map(line).collect();
    Response::builder().header("content-type", "text/event-stream").body(body.into()).unwrap()
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let body = json!({"error": {"message": "m", "type": "t", "param": null, "code": code}});
    Response::builder().status(status).body(body.to_string().into()).unwrap()
}

#[test]
fn a_closed_loop_counts_every_request() {
    let server = Server::start();
    for http in ["1", "2"] {
        let line = ["--http", http, "--concurrency", "4", "--requests", "40"];
        let (output, figures) = server.measure(&line);
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.starts_with("requests              40 completed, 0 failed"), "{shown}");
        assert_eq!(figures["model_id"], "steady", "the first of the list");
        assert_eq!(figures["completed"], 40);
        assert_eq!(figures["total_input_tokens"], 280, "the server's own counts");
        assert_eq!(figures["total_output_tokens"], 200);
        assert!(figures["mean_ttft_ms"].as_f64() <= figures["mean_e2el_ms"].as_f64());
    }
}

#[test]
fn an_open_loop_sends_as_planned() {
    let server = Server::start();
    let line = ["--rate", "40", "--duration", "0.5", "--seed", "3", "--lag-ms-max", "5000"];
    let (output, figures) = server.measure(&line);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(figures["completed"], figures["num_prompts"]);
    assert_eq!(figures["request_rate"], 40.0);
    let (_, again) = server.measure(&line);
    assert_eq!(again["num_prompts"], figures["num_prompts"], "the seed fixes the schedule");
}

#[test]
fn a_client_that_cannot_keep_up_says_so() {
    let server = Server::start();
    // one request at a time, each 50 ms long, cannot leave 100 times a second
    let (output, figures) = server.measure(&[
        "--model",
        "slow",
        "--rate",
        "100",
        "--duration",
        "0.5",
        "--in-flight-max",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("the run is void"));
    assert!(figures["void"].is_string());
    // waiting for a place is part of what a user feels
    assert!(figures["max_e2el_ms"].as_f64().unwrap() > 2.0 * SLOW.as_secs_f64() * 1e3);
}

#[test]
fn failures_are_told_apart() {
    let server = Server::start();
    for (model, expected) in [
        ("busy", "http 429 rate_limited"),
        ("breaks", "ended early"),
        ("fails", "stream error engine_error"),
    ] {
        let (output, figures) =
            server.measure(&["--model", model, "--requests", "3", "--warmup", "0"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(figures["errors_by_code"], json!({expected: 3}));
        assert_eq!((&figures["completed"], &figures["failed"]), (&json!(0), &json!(3)));
    }
}

#[test]
fn what_cannot_start_says_why() {
    let server = Server::start();
    let says = |arguments: &[&str], expected: &str| {
        let (output, figures) = server.measure(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected) && output.status.code() == Some(1), "{said}");
        assert!(figures.is_null(), "no figures without a run");
    };
    says(&["--key", "wrong"], "http 401 invalid_api_key");
    says(&["--model", "busy"], "the warm-up request failed: http 429");
    says(&["--key", "a\nb"], "no header may hold");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let (server, other) = (Server::start(), Server::start());
    let mixed = Server { url: server.url.clone(), ..other };
    let (output, _) = mixed.measure(&["--model", "steady"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the warm-up request failed: connection failed"), "{said}");
}
