//! Anthropic's API over TLS: its credentials, its messages, its errors.

use std::time::Duration;

use engine_api::{EngineError, Event, OutputEvent};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Http, full};
use crate::engine::{Script, finished, placed, token, usage};
use crate::scene::{Scene, of_kind};

const PATH: &str = "/v1/messages";

fn body(more: Value) -> Value {
    let mut body = json!({"model": "small", "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn kind(answer: &Answer) -> String {
    answer.json()["error"]["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_is_whole_and_a_key_may_have_its_own_header() {
    let scene = Scene::new().await;
    let bearer = scene.tenant("clinic");
    let key = bearer.key.clone().unwrap();
    let stranger = scene.client(Http::Two, None);
    let with_key = |client: &Client| client.request(Method::POST, PATH).header("x-api-key", &key);
    for request in [bearer.request(Method::POST, PATH), with_key(&stranger), with_key(&bearer)] {
        let request = request.body(full(body(json!({"system": "s"})).to_string())).unwrap();
        let answer = stranger.whole(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut message = answer.json();
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(message["id"].take(), format!("msg_{id}"));
        let expected = json!({"id": null, "type": "message", "role": "assistant",
            "model": "small", "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 1, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 1, "output_tokens": 2, "service_tier": "standard"}});
        assert_eq!(message, expected);
        assert!(answer.header("x-hanse-receipt").is_some());
    }
    let two = bearer.request(Method::POST, PATH).header("x-api-key", "another");
    let answer = bearer.whole(two.body(full(body(json!({})).to_string())).unwrap()).await;
    assert_eq!((answer.status.as_u16(), kind(&answer)), (401, "authentication_error".into()));
    let entries = scene.entries().await;
    assert!(of_kind(&entries, "decision").iter().all(|one| one["endpoint"] == PATH));
}

#[tokio::test]
async fn a_stream_has_every_event_and_a_failed_one_says_so() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let (index, id, name) = (0, "call_1".to_owned(), "f".to_owned());
    let output = |output| Ok(Event::Output { choice: 0, output });
    scene.engine.next(Script::Events(vec![
        placed(),
        token(0, 0, "Hel"),
        output(OutputEvent::CallStarted { index, id, name }),
        output(OutputEvent::Arguments { index, text: "{}".into() }),
        output(OutputEvent::CallFinished { index }),
        finished(0),
        usage(3),
    ]));
    let answer = client.post_to(PATH, body(json!({"stream": true}))).await;
    let text = answer.text();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert!(text.contains(r#""stop_reason":"tool_use""#), "{text}");

    let failing = vec![placed(), token(0, 0, "a"), Err(EngineError::Internal)];
    scene.engine.next(Script::Events(failing));
    let text = client.post_to(PATH, body(json!({"stream": true}))).await.text();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.strip_prefix("event: error\ndata: ").unwrap();
    let error: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("api_error")));
    assert!(!text.contains("message_stop"));
}

#[tokio::test]
async fn every_refusal_has_anthropic_s_shape() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let said = async |answer: Answer| (answer.error(), kind(&answer));
    let post = async |more: Value| said(client.post_to(PATH, body(more)).await).await;
    let expected =
        |status: u16, code: &str, kind: &str| ((status, code.to_owned()), kind.to_owned());

    let stranger = scene.client(Http::Two, None);
    assert_eq!(
        said(stranger.post_to(PATH, body(json!({}))).await).await,
        expected(401, "invalid_api_key", "authentication_error")
    );
    let invalid = "invalid_request_error";
    assert_eq!(said(client.get(PATH).await).await, expected(405, "method_not_allowed", invalid));
    assert_eq!(
        said(client.get("/v1/messages/batches").await).await,
        expected(404, "unknown_url", "not_found_error")
    );
    assert_eq!(
        post(json!({"max_tokens": null})).await,
        expected(400, "missing_required_parameter", invalid)
    );
    assert_eq!(
        post(json!({"model": "none"})).await,
        expected(404, "model_not_found", "not_found_error")
    );
    assert_eq!(
        post(json!({"model": "french"})).await,
        expected(403, "residency_violation", "permission_error")
    );
    let soon = Duration::from_secs(1);
    scene.engine.next(Script::RefuseSubmit(EngineError::Overloaded { retry_after: soon }));
    assert_eq!(post(json!({})).await, expected(429, "overloaded", "rate_limit_error"));
    scene.engine.next(Script::RefuseSubmit(EngineError::Draining));
    assert_eq!(post(json!({})).await, expected(503, "draining", "overloaded_error"));
    scene.engine.next(Script::Panic);
    assert_eq!(post(json!({})).await, expected(500, "internal_error", "api_error"));

    let answer = client.post_to(PATH, body(json!({"thread": {"type": "create"}}))).await;
    assert_eq!(answer.status, 400);
    let error = answer.json()["error"].clone();
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["details"]["error_code"], "thread_unsupported_request");
    assert_eq!(error["details"]["unsupported"], json!(["thread"]));
}

#[tokio::test]
async fn tokens_are_counted_by_policy_and_without_an_entry() {
    let scene = Scene::new().await;
    let path = "/v1/messages/count_tokens";
    let count = json!({"model": "small", "system": "s",
        "messages": [{"role": "user", "content": "hi"}]});
    let answer = scene.tenant("clinic").post_to(path, count.clone()).await;
    assert_eq!(answer.json(), json!({"input_tokens": 2}), "{}", answer.text());
    let denied = scene.tenant("picky").post_to(path, count).await;
    assert_eq!(denied.error(), (403, "model_not_allowed".into()));
    assert_eq!(scene.engine.submitted(), 0);
    assert_eq!(of_kind(&scene.entries().await, "decision").len(), 0);
}

#[tokio::test]
async fn models_are_read_by_clients_of_both() {
    let scene = Scene::new().await;
    let list = scene.tenant("clinic").get("/v1/models").await.json();
    assert_eq!((&list["object"], &list["has_more"]), (&json!("list"), &json!(false)));
    assert_eq!((&list["first_id"], &list["last_id"]), (&json!("small"), &json!("vectors")));
    let model = &list["data"][0];
    assert_eq!((&model["object"], &model["type"]), (&json!("model"), &json!("model")));
    assert_eq!(model["display_name"], "small");
    assert_eq!(model["created_at"], "2023-11-14T22:13:20Z");
    let unknown = |client: Client, version: bool| async move {
        let request = client.request(Method::GET, "/v1/models/none");
        let request =
            if version { request.header("anthropic-version", "2023-06-01") } else { request };
        client.whole(request.body(full("")).unwrap()).await
    };
    let theirs = unknown(scene.tenant("clinic"), true).await;
    assert_eq!((theirs.error().0, kind(&theirs)), (404, "not_found_error".into()));
    let openai = unknown(scene.tenant("clinic"), false).await;
    assert_eq!((openai.error().0, kind(&openai)), (404, "invalid_request_error".into()));
}
