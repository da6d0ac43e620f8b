//! Traces that leave the gateway, and what is in them.
//!
//! Exporting is switched on by the environment, once for a process. So the test starts itself
//! again with the variable set, and is the collector meanwhile.

use std::convert::Infallible;
use std::env;
use std::sync::Arc;

use gateway::telemetry::{self, Service};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::client::{chat, full};
use crate::scene::Scene;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const CHILD: &str = "HANSE_TEST_TRACED";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Serves one request in a gateway that exports, and prints the span that the engine got.
async fn traced() {
    let telemetry = telemetry::start(Service::Gateway).unwrap();
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let messages = json!([{"role": "user", "content": "SECRET-PROMPT"}]);
    let request = client
        .request(Method::POST, "/v1/chat/completions")
        .header("traceparent", format!("00-{TRACE_ID}-{PARENT}-01"))
        .body(full(chat(json!({"messages": messages})).to_string()))
        .unwrap();
    assert_eq!(client.whole(request).await.status, 200);
    let trace = scene.engine.submissions.lock().unwrap()[0].trace.unwrap();
    println!("TRACE={trace}");
    drop(scene);
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();
}

async fn collector() -> (String, mpsc::UnboundedReceiver<(String, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    let sender = Arc::new(sender);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let sender = Arc::clone(&sender);
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = Arc::clone(&sender);
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    sender.send((path, body)).unwrap();
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
        }
    });
    (url, received)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[tokio::test]
async fn a_request_s_span_continues_the_caller_s_trace_and_the_engine_s_continues_it() {
    if env::var_os(CHILD).is_some() {
        return traced().await;
    }
    let (url, mut received) = collector().await;
    let name =
        "traces::a_request_s_span_continues_the_caller_s_trace_and_the_engine_s_continues_it";
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ENDPOINT, url)
        .env(CHILD, "1")
        .output()
        .await
        .unwrap();
    let (out, log) =
        (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{out}\n{log}");
    let own = out.lines().find_map(|line| line.split_once("TRACE=")).unwrap().1;
    let own: Vec<&str> = own.split('-').collect();
    assert_eq!(own[1], TRACE_ID, "the trace is the caller's");
    assert_ne!(own[2], PARENT, "the span is the gateway's own");

    let (path, spans) = received.recv().await.expect("spans were sent before the process ended");
    assert_eq!(path, "/v1/traces");
    for id in [TRACE_ID, PARENT, own[2]] {
        assert!(holds(&spans, &hex(id)), "{id} is in the spans");
    }
    for text in [
        "hanse-gateway",
        "POST /v1/chat/completions",
        "gen_ai.request.model",
        "eu-de-1",
        "hanse.tenant",
        "clinic",
    ] {
        assert!(holds(&spans, text.as_bytes()), "{text} is in the spans");
    }
    assert!(!holds(&spans, b"SECRET-PROMPT") && !log.contains("SECRET-PROMPT"));
    let line = log.lines().find(|line| line.contains("the request was answered")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["status"], &line["span"]["hanse.tenant"]), (&json!(200), &json!("clinic")));
}
