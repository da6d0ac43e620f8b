//! Texts that go on: many prompts in one request, each with evidence of its own.

use engine_api::EngineError;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::client::full;
use crate::engine::{Script, placed, token};
use crate::scene::{Scene, of_kind};

const PATH: &str = "/v1/completions";

fn body(more: Value) -> Value {
    let mut body = json!({"model": "small", "prompt": "ab"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_completion_has_openai_s_shape_over_both_versions_of_http() {
    let scene = Scene::new().await;
    for client in [scene.tenant("clinic"), scene.tenant_http1("clinic")] {
        let answer = client.post_to(PATH, body(json!({"echo": true}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut body = answer.json();
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(body["id"].take(), format!("cmpl-{id}"));
        assert!(body["created"].take().as_i64().unwrap() > 1_700_000_000);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("10000"));
        let expected = json!({"id": null, "object": "text_completion", "created": null,
            "model": "small", "system_fingerprint": "cpu-v1/abababababab",
            "choices": [{"index": 0, "text": "abHello", "logprobs": null,
                "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 0}}});
        assert_eq!(body, expected);
    }
    let submissions = scene.engine.submissions.lock().unwrap();
    assert_eq!(submissions[0].stopping.max_tokens.get(), 16, "OpenAI's default");
}

#[tokio::test]
async fn each_prompt_is_a_request_with_its_own_decision() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let many = body(json!({"prompt": ["ab", [2, 3], "e"], "n": 2, "echo": true}));
    let answer = client.post_to(PATH, many).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let choices = answer.json()["choices"].as_array().unwrap().clone();
    let texts: Vec<_> = choices.iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["abHello", "abHello", "cdHello", "cdHello", "eHello", "eHello"]);
    let indices = choices.iter().map(|one| one["index"].as_u64().unwrap());
    assert!(indices.eq(0..6));
    assert_eq!(answer.json()["usage"]["total_tokens"], 3 * (2 + 4));
    let receipts = answer.headers.get_all("x-hanse-receipt").iter().count();
    assert_eq!(receipts, 3);
    let denied = client.post_to(PATH, body(json!({"prompt": ["a", "b"], "model": "french"}))).await;
    assert_eq!(denied.error(), (403, "residency_violation".into()));

    let id = answer.header("x-request-id").unwrap().to_owned();
    let entries = scene.entries().await;
    let decisions = of_kind(&entries, "decision");
    assert_eq!(decisions.len(), 4, "what is refused to one prompt is refused once");
    assert!(decisions.iter().all(|one| one["endpoint"] == PATH));
    let mut requests: Vec<_> =
        decisions[..3].iter().map(|one| one["request"].as_str().unwrap().to_owned()).collect();
    requests.sort();
    assert_eq!(requests, [id.clone(), format!("{id}-1"), format!("{id}-2")]);
    assert_eq!(of_kind(&entries, "terminal").len(), 3);
}

#[tokio::test]
async fn a_stream_ends_with_the_usage_of_all_and_done() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let more = json!({"prompt": ["a", "b"], "stream": true,
        "stream_options": {"include_usage": true}});
    let answer = client.post_to(PATH, body(more)).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let text = answer.text();
    let data = text.strip_suffix("data: [DONE]\n\n").expect("the end in good order");
    let events = data.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let events: Vec<Value> = events.map(|event| serde_json::from_str(event).unwrap()).collect();
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(8)));
    let mut texts = [String::new(), String::new()];
    for choice in chunks.iter().map(|chunk| &chunk["choices"][0]) {
        texts[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
    }
    assert_eq!(texts, ["Hello", "Hello"]);
}

#[tokio::test]
async fn one_prompt_that_fails_ends_all_and_says_so() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let failing = || vec![placed(), token(0, 0, "a"), Err(EngineError::Internal)];
    let live = scene.engine.live();
    scene.engine.next(Script::Events(failing()));
    let more = json!({"prompt": ["a", "b"], "stream": true});
    let answer = client.post_to(PATH, body(more)).await;
    let last = answer.text().trim_end().rsplit("\n\n").next().unwrap().to_owned();
    assert!(last.contains("\"code\":\"internal_error\""), "{last}");
    assert!(!answer.text().contains("[DONE]"));
    assert!(live.is_closed(), "the other prompt is cancelled");
    scene.engine.next(Script::Events(failing()));
    let answer = client.post_to(PATH, body(json!({}))).await;
    assert_eq!(answer.error(), (500, "internal_error".into()));
    // the second finds no place in the queue: the first must not run on for nobody
    let live = scene.engine.live();
    let full = EngineError::Overloaded { retry_after: std::time::Duration::from_secs(1) };
    scene.engine.next(Script::RefuseSubmit(full));
    let answer = client.post_to(PATH, body(json!({"prompt": ["a", "b"]}))).await;
    assert_eq!(answer.error(), (429, "overloaded".into()));
    assert!(live.is_closed());
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_every_prompt() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let live = [scene.engine.live(), scene.engine.live()];
    let request = client.request(http::Method::POST, PATH);
    let streamed = body(json!({"prompt": ["a", "b"], "stream": true}));
    let response = client.send(request.body(full(streamed.to_string())).unwrap()).await;
    live[1].send(placed()).unwrap();
    live[1].send(token(0, 0, "x")).unwrap();
    let mut stream = response.into_body();
    assert!(stream.frame().await.is_some(), "one prompt does not wait for the other");
    drop(stream);
    scene.engine.dropped(2).await;
}

#[tokio::test]
async fn prompts_reach_the_engine_as_they_are() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    for (prompt, ids) in [(json!("ba"), vec![1, 0]), (json!([5, 6]), vec![5, 6])] {
        assert_eq!(client.post_to(PATH, body(json!({"prompt": prompt}))).await.status, 200);
        let submissions = scene.engine.submissions.lock().unwrap();
        let sent: Vec<u32> = submissions.last().unwrap().prompt.ids.iter().map(|id| id.0).collect();
        assert_eq!(sent, ids, "{prompt}");
    }
    let refused = client.post_to(PATH, body(json!({"suffix": "x"}))).await;
    assert_eq!(refused.error(), (400, "unsupported_parameter".into()));
    assert_eq!(refused.json()["error"]["param"], "suffix");
}

#[tokio::test]
async fn a_refusal_names_fields_as_the_client_does() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let chat = json!([{"role": "user", "content": "x"}]);
    let too_long =
        || Script::RefusePrepare(EngineError::PromptTooLong { prompt_tokens: 99, context: 64 });
    for (path, body, prompt, length) in [
        (PATH, body(json!({})), "prompt", "max_tokens"),
        ("/v1/responses", json!({"model": "small", "input": "x"}), "input", "max_output_tokens"),
        (
            "/v1/chat/completions",
            json!({"model": "small", "messages": chat}),
            "messages",
            "max_tokens",
        ),
    ] {
        scene.engine.next(too_long());
        let answer = client.post_to(path, body.clone()).await;
        assert_eq!(answer.error(), (400, "context_length_exceeded".into()));
        assert_eq!(answer.json()["error"]["param"], prompt);
        let mut long = body;
        long[length] = json!(33);
        let answer = client.post_to(path, long).await;
        assert_eq!(answer.error(), (403, "output_too_long".into()));
        assert_eq!(answer.json()["error"]["param"], length);
    }
}
