//! The program against a small server of the test's own, through TLS.

#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
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

type Asked = Arc<Mutex<Vec<Value>>>;

/// A server in its own threads, with a certificate of its own.
struct Server {
    url: String,
    ca: PathBuf,
    folder: tempfile::TempDir,
    /// Every completion that was asked for, in order.
    asked: Asked,
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
        let asked = Asked::default();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        runtime.spawn(serve(listener, tls, asked.clone()));
        Self { url, ca, folder, asked, _runtime: runtime }
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

impl Server {
    /// Compares two models of this server as if each were a server of its own; gives the output and
    /// what it wrote as JSON and as Markdown.
    fn compare(&self, models: [&str; 2], arguments: &[&str]) -> (Output, Value, String) {
        let [json, markdown, key] =
            ["figures.json", "figures.md", "key"].map(|name| self.folder.path().join(name));
        std::fs::write(&key, format!("{KEY}\n")).unwrap();
        let server = |model: &str| {
            let (url, ca, key) = (&self.url, self.ca.display(), key.display());
            let pid = std::process::id();
            format!("name=the-{model},url={url},ca={ca},key-file={key},model={model},process={pid}")
        };
        let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(["compare", "--seed", "5"])
            .args(models.map(server).iter().flat_map(|server| ["--server", server]))
            .args(arguments)
            .args([Path::new("--json"), &json, Path::new("--markdown"), &markdown])
            .output()
            .unwrap();
        let figures = std::fs::read(&json).ok();
        let figures = figures.map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
        (output, figures, std::fs::read_to_string(markdown).unwrap_or_default())
    }

    /// The models of all requests but the two warm-ups; neighbours that are equal count once.
    fn turns(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let models = asked[2..].iter().map(|body| body["model"].as_str().unwrap().to_string());
        let mut turns: Vec<String> = models.collect();
        turns.dedup();
        turns
    }

    /// What was said to a model, without the warm-up.
    fn messages(&self, model: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let own = asked.iter().filter(|body| body["model"] == model).skip(1);
        own.map(|body| body["messages"].clone()).collect()
    }
}

async fn serve(listener: TcpListener, tls: tokio_rustls::TlsAcceptor, asked: Asked) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, asked) = (tls.clone(), asked.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, asked.clone()));
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    asked: Asked,
) -> Result<Response<Full<Bytes>>, Infallible> {
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
    asked.lock().unwrap().push(body.clone());
    Ok(match body["model"].as_str().unwrap() {
        "steady" => stream(tokens, Ending::Done),
        "slow" => {
            tokio::time::sleep(SLOW).await;
            stream(tokens, Ending::Done)
        }
        "ends" => stream(tokens.min(60), Ending::Done),
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

#[test]
fn servers_are_asked_the_same_in_turn() {
    let server = Server::start();
    let line = ["--rounds", "2", "--workloads", "decode,prefill"];
    let (output, figures, table) = server.compare(["steady", "slow"], &line);
    assert!(output.status.success(), "{output:?}");
    // each round begins with another server, and so does not end with the same
    let (steady, slow) = ("steady", "slow");
    assert_eq!(server.turns(), [steady, slow, steady, slow, steady, slow, steady]);
    let messages = server.messages("steady");
    assert_eq!(messages, server.messages("slow"));
    let words: Vec<usize> = messages
        .iter()
        .map(|messages| messages[0]["content"].as_str().unwrap().split(' ').count())
        .collect();
    assert_eq!(words, [100, 100, 100, 1700, 1700, 1700].repeat(2));
    assert_ne!(messages[0], messages[6], "no cache knows the next round's prompts");

    let asked = server.asked.lock().unwrap();
    let [decode, prefill] = [&asked[2], &asked[8]];
    assert_eq!((&decode["max_tokens"], &prefill["max_tokens"]), (&json!(128), &json!(1)));
    assert_eq!((&decode["temperature"], &decode["ignore_eos"]), (&json!(0), &json!(true)));

    assert_eq!(figures["measurements"].as_array().unwrap().len(), 8);
    assert_eq!(figures["measurements"][0]["requests"], 3);
    assert_eq!(figures["servers"][0]["model"], "steady");
    assert!(figures["servers"][1]["memory"]["peak_rss_mib"].as_f64() > Some(1.0));
    // ratios are those within a round
    let speed = |model: &str, round: u64| {
        let all = figures["measurements"].as_array().unwrap();
        let is_it = |one: &&Value| {
            one["server"] == model && one["round"] == round && one["workload"] == "decode"
        };
        all.iter().find(is_it).unwrap()["output_tokens_per_s"].as_f64().unwrap()
    };
    let mut ratios = [1, 2].map(|round| speed("the-steady", round) / speed("the-slow", round));
    ratios.sort_by(f64::total_cmp);
    let ratio = &figures["figures"][0]["ratios"]["the-slow"];
    for (name, expected) in [("min", ratios[0]), ("max", ratios[1])] {
        let got = ratio[name].as_f64().unwrap();
        assert!((got - expected).abs() < 1e-9 * expected, "{name} {got}: {figures:#}");
    }
    // the slow one waits 50 ms before each of its answers
    let wall = figures["measurements"][1]["wall_s"].as_f64();
    assert!(wall > Some(3.0 * SLOW.as_secs_f64()), "{figures:#}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), table);
    let head = "|  |  | the-steady | the-slow | the-steady to the-slow |\n";
    assert!(table.starts_with(head), "{table}");
    assert!(table.contains("\n| decode | tokens out/s | "), "{table}");
    assert!(table.contains("\n| memory | peak RSS, MiB | "), "{table}");
}

#[test]
fn conversations_go_on_with_what_was_answered() {
    let server = Server::start();
    let line = ["--rounds", "1", "--workloads", "batch,agent"];
    let (output, figures, _) = server.compare(["steady", "slow"], &line);
    assert!(output.status.success(), "{output:?}");
    let requests = |i: usize| figures["measurements"][i]["requests"].as_u64().unwrap();
    assert_eq!((requests(0), requests(2)), (16, 40));
    let mut messages = server.messages("steady").split_off(16);
    messages.sort_by_key(|messages| messages.as_array().unwrap().len());
    let turns: Vec<usize> = messages.iter().map(|one| one.as_array().unwrap().len()).collect();
    assert_eq!(turns, [2, 4, 6, 8, 10].map(|turns| [turns; 8]).as_flattened());
    let (first, last) = (messages[0].as_array().unwrap(), messages[39].as_array().unwrap());
    assert_eq!(first[0], last[0], "all have one system prompt");
    assert_eq!(first[0]["role"], "system");
    assert_eq!(last[8], json!({"role": "assistant", "content": "a".repeat(32)}));
    assert!(last[9]["content"].as_str().unwrap().starts_with("Result: "));
    assert!(messages[1..8].iter().all(|one| one[1] != first[1]), "each has its own task");
}

#[test]
fn a_comparison_of_unequal_work_is_refused() {
    let server = Server::start();
    let says = |models, arguments: &[&str], expected: &str| {
        let (output, figures, _) = server.compare(models, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected) && !output.status.success(), "{said}");
        assert!(figures.is_null(), "no figures without a run");
    };
    says(
        ["steady", "ends"],
        &["--rounds", "1"],
        "decode of the server `the-ends`: an answer has 60",
    );
    says(
        ["breaks", "steady"],
        &[],
        "the server `the-breaks`: the warm-up request failed: a request",
    );
    says(["steady", "steady"], &[], "two servers are named `the-steady`");
    says(["steady", "slow"], &["--server", "name=a"], "the field `url` is missing");
    let nobody = "name=a,url=http://localhost/v1,process=nobody-is-called";
    says(["steady", "slow"], &["--server", nobody], "no process named `nobody-is-called`");
    says(["steady", "slow"], &["--workloads", "all"], "invalid value 'all'");
    let alone = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["compare", "--server", "name=a,url=http://localhost/v1"])
        .output()
        .unwrap();
    assert!(String::from_utf8(alone.stderr).unwrap().contains("takes two servers or more"));
}
