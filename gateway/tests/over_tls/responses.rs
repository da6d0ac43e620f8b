//! Responses over TLS.

use engine_api::{EngineError, Event, OutputEvent};
use serde_json::{Value, json};

use crate::engine::{Script, Step, finished, placed, token, usage};
use crate::scene::{Scene, of_kind};

const PATH: &str = "/v1/responses";

fn body(more: Value) -> Value {
    let mut body = json!({"model": "small", "input": "hi"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The names of the events, with what is in their data.
fn events(text: &str) -> Vec<Value> {
    let events = text.split("\n\n").filter(|event| !event.is_empty());
    events
        .map(|event| {
            let (name, data) = event.split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"]);
            data
        })
        .collect()
}

fn output(output: OutputEvent) -> Step {
    Ok(Event::Output { choice: 0, output })
}

#[tokio::test]
async fn a_response_is_whole_over_both_versions_of_http() {
    let scene = Scene::new().await;
    for client in [scene.tenant("clinic"), scene.tenant_http1("clinic")] {
        let answer = client.post_to(PATH, body(json!({"metadata": {"a": "b"}}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let response = answer.json();
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(response["id"], format!("resp_{id}"));
        assert_eq!((&response["status"], &response["store"]), (&json!("completed"), &json!(false)));
        assert_eq!(response["metadata"], json!({"a": "b"}));
        let item = &response["output"][0];
        assert_eq!((&item["type"], &item["role"]), (&json!("message"), &json!("assistant")));
        assert_eq!(item["content"][0]["text"], "Hello");
        assert_eq!(response["usage"]["input_tokens_details"]["cached_tokens"], 1);
        assert!(answer.header("x-hanse-receipt").is_some());
    }
    let entries = scene.entries().await;
    assert!(of_kind(&entries, "decision").iter().all(|one| one["endpoint"] == PATH));
}

#[tokio::test]
async fn a_stream_has_every_event_and_ends_once_it_is_settled() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let (index, id, name) = (0, "call_1".to_owned(), "f".to_owned());
    scene.engine.next(Script::Events(vec![
        placed(),
        token(0, 0, "Hel"),
        token(0, 1, ""),
        output(OutputEvent::CallStarted { index, id, name }),
        output(OutputEvent::Arguments { index, text: "{}".into() }),
        output(OutputEvent::CallFinished { index }),
        finished(0),
        usage(3),
    ]));
    let answer = client.post_to(PATH, body(json!({"stream": true}))).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = events(&answer.text());
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][1]["call_id"], "call_1");
    assert_eq!(last["usage"]["output_tokens"], 3);
}

#[tokio::test]
async fn a_failure_is_said_before_and_after_the_head() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let failing = vec![placed(), token(0, 0, "a"), Err(EngineError::Internal)];
    let cut = vec![placed(), token(0, 0, "a")];
    for steps in [failing, cut] {
        scene.engine.next(Script::Events(steps));
        let answer = client.post_to(PATH, body(json!({"stream": true}))).await;
        let events = events(&answer.text());
        let [.., error, failed] = &events[..] else { panic!("too few events") };
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("internal_error")));
        assert_eq!(failed["type"], "response.failed");
        assert_eq!(failed["response"]["status"], "failed");
        assert_eq!(failed["response"]["error"]["code"], "server_error");
    }
    scene.engine.next(Script::Events(vec![placed(), Err(EngineError::Internal)]));
    let answer = client.post_to(PATH, body(json!({}))).await;
    assert_eq!(answer.error(), (500, "internal_error".into()));
    let stored = client.post_to(PATH, body(json!({"previous_response_id": "resp_1"}))).await;
    assert_eq!(stored.error(), (400, "unsupported_parameter".into()));
    assert_eq!(stored.json()["error"]["param"], "previous_response_id");
}
