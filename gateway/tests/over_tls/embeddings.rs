//! `POST /v1/embeddings`: shapes, refusals and what the audit log holds.

use engine_api::EngineError;
use serde_json::{Value, json};

use crate::engine::Script;
use crate::scene::{Scene, of_kind};

fn body(more: Value) -> Value {
    let mut body = json!({"model": "vectors", "input": ["ab", "SECRET"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn vectors_come_in_the_order_of_their_texts_and_are_recorded() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let answer = client.embed(body(json!({}))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"object": "list", "model": "vectors",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.0, 0.5]},
                     {"object": "embedding", "index": 1, "embedding": [1.0, 0.5]}],
            "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-ratelimit-limit-requests").is_some());
    let receipt = answer.header("x-hanse-receipt").unwrap().to_owned();
    let asked = scene.engine.embeddings.lock().unwrap()[0].clone();
    let zones: Vec<&str> = asked.zones.iter().map(|zone| zone.as_str()).collect();
    assert_eq!(zones, ["eu-de-1"], "the clinic's texts stay in Germany");
    let encoded = client.embed(body(json!({"encoding_format": "base64"}))).await.json();
    assert_eq!(encoded["data"][1]["embedding"], "AACAPwAAAD8=");

    let entries = scene.entries().await;
    assert!(!Value::from(entries.clone()).to_string().contains("SECRET"));
    let decision = &of_kind(&entries, "decision")[0];
    assert_eq!(decision["endpoint"], "/v1/embeddings");
    assert_eq!(decision["outcome"], "permit");
    assert_eq!(decision["embedding"], json!({"texts": 2, "dimensions": 2}));
    assert_eq!(decision["prompt_tokens"], 8);
    assert_eq!(decision["parameters"], Value::Null);
    let index: usize = receipt.split_once('-').unwrap().0.parse().unwrap();
    assert_eq!(entries[index]["decision"], *decision);
    let end = &of_kind(&entries, "terminal")[0];
    assert_eq!((&end["outcome"], &end["decision"]), (&json!("completed"), &json!(index)));
    assert_eq!(end["attempts"][0]["zone"], "eu-de-1");
    assert_eq!(end["usage"]["prompt_tokens"], 8);
}

#[tokio::test]
async fn policy_and_limits_hold_as_for_chats() {
    let scene = Scene::new().await;
    let refused = |answer: crate::client::Answer| answer.error();
    let clinic = scene.tenant("clinic");
    let long = clinic.embed(body(json!({"input": "123456789"}))).await;
    assert_eq!(refused(long).1, "prompt_too_long");
    let picky = scene.tenant("picky");
    assert_eq!(refused(picky.embed(body(json!({}))).await), (403, "model_not_allowed".into()));
    let slow = scene.tenant("slow");
    for expected in [200, 200, 429] {
        assert_eq!(slow.embed(body(json!({"input": "ab"}))).await.status, expected);
    }
    let nobody = scene.client(crate::client::Http::Two, None);
    assert_eq!(nobody.embed(body(json!({}))).await.status, 401);
    assert_eq!(scene.engine.embeddings.lock().unwrap().len(), 2, "the others reach no engine");
    let entries = scene.entries().await;
    let reasons: Vec<String> = of_kind(&entries, "decision")
        .iter()
        .filter_map(|decision| decision["outcome"]["deny"]["reason"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(reasons, ["prompt_too_long", "model_not_allowed"]);
}

#[tokio::test]
async fn a_model_of_the_other_kind_is_refused_with_those_that_would_do() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let answer = client.embed(body(json!({"model": "small"}))).await;
    assert_eq!(
        answer.json()["error"],
        json!({"message": "`model` is `small`, which generates text and makes no embeddings; \
                `vectors` makes embeddings",
            "type": "invalid_request_error", "param": "model", "code": "model_not_supported"})
    );
    assert_eq!(answer.status, 400);
    let answer = client.post(crate::client::chat(json!({"model": "vectors"}))).await;
    assert_eq!(answer.error(), (400, "model_not_supported".into()));
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("one of these generates text: `small`, `french`, `org/other`"));
    // a tenant that may not use the model hears nothing of what it is
    let answer = scene.tenant("picky").embed(body(json!({"model": "small"}))).await;
    assert_eq!(answer.error(), (403, "model_not_allowed".into()));
    let unknown = client.embed(body(json!({"model": "none"}))).await;
    assert_eq!(unknown.error(), (404, "model_not_found".into()));
    assert_eq!(client.get("/v1/embeddings").await.status, 405);
}

#[tokio::test]
async fn failures_are_entered_with_where_it_ran() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    scene.engine.next(Script::Events(Vec::new()));
    let answer = client.embed(body(json!({"input": "ab"}))).await;
    assert_eq!(answer.error(), (500, "internal_error".into()));
    scene.engine.next(Script::RefuseSubmit(EngineError::Quarantined));
    let answer = client.embed(body(json!({"input": "ab"}))).await;
    assert_eq!(answer.error(), (500, "request_quarantined".into()));
    let ends = of_kind(&scene.entries().await, "terminal");
    assert_eq!(ends[0]["error"], "internal_error");
    assert_eq!(ends[0]["attempts"][0]["zone"], "eu-de-1");
    assert_eq!(ends[1]["error"], "request_quarantined");
    assert_eq!(ends[1]["attempts"], json!([]));
}
