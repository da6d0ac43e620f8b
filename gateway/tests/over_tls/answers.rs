//! What a well-behaved client gets.

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::client::{Http, chat, full};
use crate::engine::{Script, finished, placed, token, usage};
use crate::scene::Scene;

/// The JSON of each event, and `[DONE]` as a string.
fn events(text: &str) -> Vec<Value> {
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

#[tokio::test]
async fn a_completion_has_openai_s_shape_over_both_versions_of_http() {
    let scene = Scene::new().await;
    for client in [scene.tenant("clinic"), scene.tenant_http1("clinic")] {
        let answer = client.post(chat(json!({"service_tier": "auto", "seed": 5}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut body = answer.json();
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(body["id"].take(), format!("chatcmpl-{id}"));
        assert!(body["created"].take().as_i64().unwrap() > 1_700_000_000);
        assert!(answer.header("x-hanse-receipt").is_some());
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("10000"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let expected = json!({"id": null, "object": "chat.completion", "created": null,
            "model": "small", "service_tier": "default",
            "system_fingerprint": "cpu-v1/abababababab",
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello", "refusal": null}}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 0}}});
        assert_eq!(body, expected);
    }
    let submissions = scene.engine.submissions.lock().unwrap();
    assert_eq!(submissions[0].sampling.seed.0, 5);
    assert_eq!(submissions[0].zones.len(), 1, "the clinic may not use the zone in France");
    assert_eq!(submissions[0].zones[0].as_str(), "eu-de-1");
    assert_eq!(submissions[0].stopping.max_tokens.get(), 32, "the tenant's limit");
    assert_eq!(submissions[0].namespace, submissions[1].namespace);
}

#[tokio::test]
async fn what_orders_requests_reaches_the_engine() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    client.post(chat(json!({"priority": -7, "top_k": 40, "stop_token_ids": [9]}))).await;
    let hasty = client
        .request(http::Method::POST, "/v1/chat/completions")
        .header("x-stainless-read-timeout", "30");
    let answer = client.whole(hasty.body(full(chat(json!({})).to_string())).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let submissions = scene.engine.submissions.lock().unwrap();
    let priorities = [submissions[0].priority.0, submissions[1].priority.0];
    assert_eq!(priorities, [-7, 0]);
    assert_eq!(submissions[0].sampling.top_k.get().map(|count| count.get()), Some(40));
    assert!(submissions[0].stopping.stop_tokens.contains(engine_api::TokenId(9)));
    let left = [0, 1].map(|index: usize| submissions[index].deadline.unwrap().as_secs_f64().ceil());
    assert_eq!(left, [600.0, 30.0], "the gateway's bound, and the client's own");
}

#[tokio::test]
async fn a_stream_is_role_content_finish_usage_done() {
    let scene = Scene::new().await;
    for client in [scene.tenant("clinic"), scene.tenant_http1("clinic")] {
        let response = client.stream(json!({"stream_options": {"include_usage": true}})).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert!(response.headers().contains_key("x-hanse-receipt"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let events = events(std::str::from_utf8(&body).unwrap());
        let deltas: Vec<String> = events
            .iter()
            .map(|event| match event["choices"].get(0) {
                Some(choice) => format!("{} {}", choice["delta"], choice["finish_reason"]),
                None => format!("{}", event["usage"]["total_tokens"]),
            })
            .collect();
        let expected = [
            r#"{"role":"assistant","content":""} null"#,
            r#"{"content":"Hel"} null"#,
            r#"{"content":"lo"} null"#,
            r#"{} "stop""#,
            "4",
        ];
        assert_eq!(deltas[..5], expected);
        assert_eq!(events[5..], [json!("[DONE]")]);
        assert!(events[..5].iter().all(|event| event["id"] == events[0]["id"]));
    }
}

#[tokio::test]
async fn choices_keep_their_own_index() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let steps = vec![
        placed(),
        token(1, 0, "b"),
        token(0, 0, "a"),
        finished(1),
        token(0, 1, "a"),
        finished(0),
        usage(3),
    ];
    scene.engine.next(Script::Events(steps));
    let body = client.post(chat(json!({"n": 2}))).await.json();
    assert_eq!(body["choices"][0]["message"]["content"], "aa");
    assert_eq!(body["choices"][1]["message"]["content"], "b");
    let response = client.stream(json!({"n": 2})).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let events = events(std::str::from_utf8(&body).unwrap());
    let indices = events.iter().filter_map(|event| event["choices"][0]["index"].as_u64());
    assert_eq!(indices.collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[tokio::test]
async fn models_are_those_that_the_tenant_may_use() {
    let scene = Scene::new().await;
    let names = |body: Value| -> Vec<String> {
        let models = body["data"].as_array().unwrap().clone();
        models.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = scene.tenant("clinic").get("/v1/models").await;
    assert_eq!(all.json()["object"], "list");
    assert_eq!(names(all.json()), ["small", "french", "org/other", "vectors"]);
    let picky = scene.tenant("picky");
    assert_eq!(names(picky.get("/v1/models").await.json()), ["org/other"]);
    assert_eq!(names(scene.tenant("closed").get("/v1/models").await.json()), [""; 0]);
    assert_eq!(names(scene.tenant("unknown").get("/v1/models").await.json()), [""; 0]);
    for path in ["/v1/models/org/other", "/v1/models/org%2Fother"] {
        let model = picky.get(path).await.json();
        assert_eq!((&model["id"], &model["object"]), (&json!("org/other"), &json!("model")));
    }
    for path in ["/v1/models/small", "/v1/models/none"] {
        assert_eq!(picky.get(path).await.error(), (404, "model_not_found".into()));
    }
}

#[tokio::test]
async fn health_is_public_and_readiness_says_what_is_missing_and_no_more() {
    let scene = Scene::new().await;
    let anybody = scene.client(Http::Two, None);
    for path in ["/healthz", "/health"] {
        assert_eq!(anybody.get(path).await.json(), json!({"status": "ok"}));
    }
    let head = anybody.request(Method::HEAD, "/healthz").body(full("")).unwrap();
    assert_eq!(anybody.whole(head).await.status, 200);
    let ready = anybody.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (200, &json!("ready")));
    scene.break_engine();
    let down = anybody.get("/readyz").await;
    assert_eq!(down.status, 503);
    assert_eq!(
        down.json()["models"],
        json!({"french": false, "org/other": false, "small": false, "vectors": false})
    );
    assert_eq!(down.json()["partitions"][0]["state"], "down");
    assert!(!down.text().contains("secret") && !down.text().contains("4242"));
}
