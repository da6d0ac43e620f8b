//! What the audit log holds afterwards, whatever happened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audit::{Directory, Log, LogOptions, SegmentId, Store, StoreError};
use engine_api::{EngineError, Event, OutputEvent};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::client::{Http, chat, full};
use crate::engine::{Script, finished, placed, token, usage};
use crate::scene::{Scene, Setup, of_kind};

#[tokio::test]
async fn a_tenant_of_germany_is_refused_in_france_and_both_outcomes_verify() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let denied = client.post(chat(json!({"model": "french"}))).await;
    assert_eq!(denied.error(), (403, "residency_violation".into()));
    let error = &denied.json()["error"];
    assert_eq!(error["permitted"], json!(["DE"]));
    assert_eq!(error["available"], json!([{"zone": "eu-fr-1", "jurisdiction": "FR"}]));
    assert_eq!(scene.engine.submitted(), 0, "nothing reaches an engine");
    let permitted = client.post(chat(json!({}))).await;
    assert_eq!(permitted.status, 200);
    let receipts =
        [&denied, &permitted].map(|one| one.header("x-hanse-receipt").unwrap().to_owned());
    let requests = [&denied, &permitted].map(|one| one.header("x-request-id").unwrap().to_owned());

    let entries = scene.entries().await;
    let decisions = of_kind(&entries, "decision");
    assert_eq!(decisions.len(), 2);
    assert_eq!(decisions[0]["outcome"]["deny"]["reason"], "residency_violation");
    assert_eq!(decisions[0]["permitted"], json!([]));
    assert_eq!(decisions[0]["rules"], json!(["residency"]));
    assert_eq!(decisions[1]["outcome"], "permit");
    assert_eq!(decisions[1]["permitted"], json!(["eu-de-1"]));
    for (decision, request) in decisions.iter().zip(&requests) {
        assert_eq!(decision["request"], *request);
        assert_eq!(decision["tenant"], "clinic");
    }
    let ends = of_kind(&entries, "terminal");
    assert_eq!(ends.len(), 1, "a denial is its own end");
    assert_eq!(ends[0]["outcome"], "completed");
    assert_eq!(ends[0]["attempts"][0]["zone"], "eu-de-1");
    assert_eq!(ends[0]["usage"]["completion_tokens"], 2);
    let index = |receipt: &str| receipt.split_once('-').unwrap().0.parse::<usize>().unwrap();
    for (receipt, decision) in receipts.iter().zip(&decisions) {
        assert_eq!(entries[index(receipt)]["decision"], *decision, "a receipt names its decision");
    }
    assert_eq!(ends[0]["decision"], index(&receipts[1]));
}

#[tokio::test]
async fn the_log_says_how_an_answer_can_be_repeated_and_not_what_it_said() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let asked = json!({"temperature": 0.5, "stop": ["SECRET-STOP"], "max_tokens": 9,
        "messages": [{"role": "user", "content": "SECRET-PROMPT"}], "user": "SECRET-USER"});
    assert_eq!(client.post(chat(asked)).await.status, 200);
    let seed = scene.engine.submissions.lock().unwrap()[0].sampling.seed.0;
    assert!(seed < 1 << 53, "every JSON reader can read it back");
    let entries = scene.entries().await;
    let text = Value::from(entries.clone()).to_string();
    assert!(!text.contains("SECRET") && !text.contains("Hello"), "{text}");
    let parameters = &of_kind(&entries, "decision")[0]["parameters"];
    assert_eq!(parameters["seed"], seed.to_string());
    assert_eq!(parameters["temperature"], 0.5);
    assert_eq!(parameters["max_tokens"], 9);
    assert_eq!(parameters["stop"], 1);
}

#[tokio::test]
async fn the_log_names_tools_and_not_what_they_were_called_with() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let output = |output| Ok(Event::Output { choice: 0, output });
    let start = |index, name: &str| {
        output(OutputEvent::CallStarted { index, id: format!("call_{index}"), name: name.into() })
    };
    let steps = vec![
        placed(),
        token(0, 0, ""),
        start(0, "find"),
        output(OutputEvent::Arguments { index: 0, text: "{\"x\": \"SECRET-VALUE\"}".into() }),
        output(OutputEvent::CallFinished { index: 0 }),
        start(1, "look"),
        output(OutputEvent::Arguments { index: 1, text: "{}".into() }),
        output(OutputEvent::CallFinished { index: 1 }),
        finished(0),
        usage(1),
    ];
    scene.engine.next(Script::Events(steps));
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name,
        "description": "SECRET-DESCRIPTION", "parameters": {"type": "object", "SECRET-KEY": 1}}})
    };
    let choice = json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto",
        "tools": [{"type": "function", "function": {"name": "find"}}]}});
    let asked = json!({"tools": [tool("find"), tool("look")], "tool_choice": choice});
    let answer = client.post(chat(asked)).await.json();
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(answer["choices"][0]["message"]["content"], Value::Null);
    let calls = &answer["choices"][0]["message"]["tool_calls"];
    assert_eq!(calls[0]["function"]["arguments"], "{\"x\": \"SECRET-VALUE\"}");

    let schema = json!({"type": "json_schema", "json_schema": {"name": "SECRET-NAME",
        "schema": {"type": "object", "description": "SECRET-SCHEMA"}}});
    assert_eq!(client.post(chat(json!({"response_format": schema}))).await.status, 200);

    let entries = scene.entries().await;
    let text = Value::from(entries.clone()).to_string();
    assert!(!text.contains("SECRET"), "{text}");
    let demanded: Vec<Value> = of_kind(&entries, "decision")
        .iter()
        .map(|decision| decision["parameters"]["demanded"].clone())
        .collect();
    let expected = json!([
        {"tools": ["find", "look"], "tool_choice": "allowed", "chosen": ["find"],
            "response_format": "text", "grammar": null},
        {"tools": [], "tool_choice": "auto", "chosen": [], "response_format": "json_schema",
            "grammar": null},
    ]);
    assert_eq!(Value::from(demanded), expected);
    let ends = of_kind(&entries, "terminal");
    assert_eq!(ends[0]["finish_reasons"], json!(["tool_calls"]));
    assert_eq!(ends[0]["tool_calls"], json!(["find", "look"]));
    assert!(ends[1].get("tool_calls").is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_is_cancelled_and_entered_once() {
    let scene = Scene::new().await;
    for (streams, client) in [(1, scene.tenant("clinic")), (2, scene.tenant_http1("clinic"))] {
        let running = scene.engine.live();
        running.send(placed()).unwrap();
        running.send(token(0, 0, "a")).unwrap();
        let mut response = client.stream(json!({})).await;
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        drop(client);
        scene.engine.dropped(streams).await;
        assert!(running.send(token(0, 1, "b")).is_err(), "nobody takes events any more");
    }
    let ends = of_kind(&scene.entries().await, "terminal");
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end["outcome"] == "cancelled"));
    assert!(ends.iter().all(|end| end["attempts"][0]["zone"] == "eu-de-1"));
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_whole_answer_is_cancelled_too() {
    let scene = Scene::new().await;
    for (streams, client) in [(1, scene.tenant("clinic")), (2, scene.tenant_http1("clinic"))] {
        let running = scene.engine.live();
        running.send(placed()).unwrap();
        let asking = tokio::spawn(async move { client.post(chat(json!({}))).await.status });
        while scene.engine.submitted() < streams {
            tokio::task::yield_now().await;
        }
        asking.abort();
        scene.engine.dropped(streams).await;
    }
    let ends = of_kind(&scene.entries().await, "terminal");
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end["outcome"] == "cancelled"), "{ends:?}");
}

#[tokio::test]
async fn a_request_that_is_refused_after_its_permit_has_one_end() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let too_long = EngineError::PromptTooLong { prompt_tokens: 99, context: 64 };
    scene.engine.next(Script::RefusePrepare(too_long));
    assert_eq!(client.post(chat(json!({}))).await.status, 400);
    scene.engine.next(Script::RefuseSubmit(EngineError::Internal));
    assert_eq!(client.post(chat(json!({}))).await.status, 500);
    scene.engine.next(Script::Events(vec![placed(), Err(EngineError::Quarantined)]));
    assert_eq!(client.post(chat(json!({}))).await.status, 500);
    let entries = scene.entries().await;
    assert_eq!(of_kind(&entries, "decision").len(), 3);
    let ends = of_kind(&entries, "terminal");
    let codes: Vec<&Value> = ends.iter().map(|end| &end["error"]).collect();
    assert_eq!(codes, ["context_length_exceeded", "internal_error", "request_quarantined"]);
    assert!(ends.iter().all(|end| end["outcome"] == "failed"));
}

#[tokio::test]
async fn a_run_of_the_gateway_is_between_its_start_and_its_stop() {
    let scene = Scene::new().await;
    let entries = scene.entries().await;
    let kinds: Vec<&String> =
        entries.iter().map(|entry| entry.as_object().unwrap().keys().next().unwrap()).collect();
    assert_eq!(kinds, ["started", "configuration", "stopped"]);
    assert_eq!(entries[1]["configuration"]["what"], "policies");
}

/// A disk that breaks or fills when it is told to.
struct Breakable {
    disk: Directory,
    broken: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
}

impl Store for Breakable {
    fn create(&mut self, segment: SegmentId) -> Result<(), StoreError> {
        self.disk.create(segment)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full(std::io::ErrorKind::StorageFull.into()));
        }
        self.disk.append(bytes)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            let source = std::io::Error::other("the disk is gone");
            return Err(StoreError::Broken { operation: "flushing", source });
        }
        self.disk.flush()
    }

    fn truncate(&mut self, length: u64) -> Result<(), StoreError> {
        self.disk.truncate(length)
    }
}

struct Faults {
    broken: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
}

async fn breakable() -> (Scene, Faults) {
    let (broken, full) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let faults = Faults { broken: Arc::clone(&broken), full: Arc::clone(&full) };
    let log = move |dir: &Path| {
        let store = |dir: &Path| Ok(Breakable { disk: Directory::open(dir)?, broken, full });
        Log::open_with(dir, LogOptions::default(), store).unwrap()
    };
    (Scene::with(Setup { log: Box::new(log), ..Setup::default() }).await, faults)
}

#[tokio::test]
async fn without_a_durable_log_nothing_runs_and_the_gateway_is_not_ready() {
    let (scene, faults) = breakable().await;
    let client = scene.tenant("clinic");
    faults.broken.store(true, Ordering::SeqCst);
    for more in [json!({}), json!({"stream": true}), json!({"model": "french"})] {
        let answer = client.post(chat(more)).await;
        assert_eq!(answer.error(), (503, "audit_unavailable".into()));
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert!(!answer.text().contains("disk"), "{}", answer.text());
    }
    assert_eq!(scene.engine.submitted(), 0);
    let ready = scene.client(Http::Two, None).get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["audit"]), (503, &json!("closed")));
}

#[tokio::test]
async fn an_answer_whose_end_cannot_be_recorded_is_not_complete() {
    let (scene, faults) = breakable().await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    let response = client.stream(json!({})).await;
    faults.broken.store(true, Ordering::SeqCst);
    for step in [placed(), token(0, 0, "a"), crate::engine::finished(0), crate::engine::usage(1)] {
        running.send(step).unwrap();
    }
    drop(running);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("audit_unavailable") && !text.contains("[DONE]"), "{text}");
}

#[tokio::test]
async fn an_end_that_finds_the_disk_full_is_entered_when_there_is_room() {
    let (scene, faults) = breakable().await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    let response = client.stream(json!({})).await;
    faults.full.store(true, Ordering::SeqCst);
    for step in [placed(), token(0, 0, "a"), crate::engine::finished(0), crate::engine::usage(1)] {
        running.send(step).unwrap();
    }
    drop(running);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("audit_unavailable") && !text.contains("[DONE]"), "{text}");
    let refused = client.post(chat(json!({}))).await;
    assert_eq!(refused.error(), (503, "audit_unavailable".into()));
    faults.full.store(false, Ordering::SeqCst);
    let ends = of_kind(&scene.entries().await, "terminal");
    assert_eq!(ends.len(), 1, "and the request that was refused meanwhile has left no trace");
    assert_eq!(ends[0]["outcome"], "completed");
}

#[tokio::test]
async fn a_client_s_own_request_id_changes_nothing() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let request = client
        .request(Method::POST, "/v1/chat/completions")
        .header("x-request-id", "theirs")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .body(full(chat(json!({})).to_string()))
        .unwrap();
    let answer = client.whole(request).await;
    assert_ne!(answer.header("x-request-id"), Some("theirs"));
    let submission = scene.engine.submissions.lock().unwrap()[0].clone();
    assert_eq!(Some(submission.id.as_str()), answer.header("x-request-id"));
    let trace = submission.trace.expect("the caller's trace goes on to the engine");
    assert_eq!(trace.trace_id[0], 0x4b);
}
