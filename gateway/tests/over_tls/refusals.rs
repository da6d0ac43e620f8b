//! Every reason for a refusal, through TLS.

use std::time::Duration;

use engine_api::{EngineError, ModelId};
use gateway::api::{Access, ROUTES};
use gateway::server::Settings;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;

use crate::client::{Http, chat, full};
use crate::engine::{Script, placed, token};
use crate::scene::{Scene, Setup};

#[tokio::test]
async fn every_route_but_the_public_ones_needs_a_key() {
    let scene = Scene::new().await;
    let stranger = scene.client(Http::Two, None);
    let forger = scene.client(Http::Two, Some("hanse_not_a_key"));
    let unlisted = ["/", "/metrics", "/v1", "/v2/models", "/admin", "//healthz", "/healthz/"];
    let listed = ROUTES.iter().map(|route| (route.path.replace("{*id}", "small"), route.access));
    let unlisted = unlisted.iter().map(|path| (path.to_string(), Access::Tenant));
    for (path, access) in listed.chain(unlisted) {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            for client in [&stranger, &forger] {
                let request = client.request(method.clone(), &path).body(full("{}")).unwrap();
                let answer = client.whole(request).await;
                match access {
                    Access::Tenant => {
                        assert_eq!(
                            answer.error(),
                            (401, "invalid_api_key".into()),
                            "{method} {path}"
                        );
                        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                    }
                    Access::Public => assert_ne!(answer.status, 401, "{method} {path}"),
                }
                assert!(answer.header("x-request-id").is_some());
            }
        }
    }
    assert_eq!(scene.engine.submitted(), 0);
}

#[tokio::test]
async fn routes_and_methods_that_are_not_there_are_said_so() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    assert_eq!(client.get("/v1/nothing").await.error(), (404, "unknown_url".into()));
    for (method, path, allowed) in [
        (Method::GET, "/v1/chat/completions", "POST"),
        (Method::GET, "/v1/completions", "POST"),
        (Method::PUT, "/v1/responses", "POST"),
        (Method::GET, "/v1/messages", "POST"),
        (Method::GET, "/tokenize", "POST"),
        (Method::DELETE, "/v1/models", "GET, HEAD"),
        (Method::POST, "/healthz", "GET, HEAD"),
    ] {
        let answer = client.whole(client.request(method, path).body(full("")).unwrap()).await;
        assert_eq!(answer.error(), (405, "method_not_allowed".into()));
        assert_eq!(answer.header("allow"), Some(allowed));
    }
}

#[tokio::test]
async fn every_deny_reason_is_a_403_with_its_code() {
    let scene = Scene::new().await;
    let nine = json!({"messages": vec![json!({"role": "user", "content": "x"}); 9]});
    let table = [
        ("unknown", json!({}), "unknown_tenant", "tenant-known"),
        ("closed", json!({}), "tenant_disabled", "tenant-enabled"),
        ("picky", json!({}), "model_not_allowed", "model-allowed"),
        ("clinic", json!({"max_tokens": 33}), "output_too_long", "output-limit"),
        ("clinic", json!({"model": "french"}), "residency_violation", "residency"),
        ("clinic", nine, "prompt_too_long", "prompt-limit"),
    ];
    for (tenant, more, code, rule) in table {
        let answer = scene.tenant(tenant).post(chat(more)).await;
        assert_eq!(answer.error(), (403, code.into()), "{}", answer.text());
        assert_eq!(answer.json()["error"]["rule"], rule);
        assert!(answer.header("x-hanse-receipt").is_some(), "a denial leaves evidence, too");
    }
    assert_eq!(scene.engine.submitted(), 0);
}

#[tokio::test]
async fn a_caller_can_narrow_where_a_request_runs_and_never_widen_it() {
    let scene = Scene::new().await;
    let client = scene.tenant("open");
    let narrowed = async |lines: &[&str]| {
        let mut request = client.request(Method::POST, "/v1/chat/completions");
        for line in lines {
            request = request.header("x-hanse-residency", *line);
        }
        client.whole(request.body(full(chat(json!({})).to_string())).unwrap()).await
    };
    assert_eq!(narrowed(&["FR"]).await.status, 200);
    assert_eq!(narrowed(&["DE", "FR"]).await.status, 200);
    {
        let submissions = scene.engine.submissions.lock().unwrap();
        assert_eq!(
            submissions[0].zones.iter().map(|z| z.as_str()).collect::<Vec<_>>(),
            ["eu-fr-1"]
        );
        assert_eq!(submissions[1].zones.len(), 2);
    }
    let answer = narrowed(&["ES"]).await;
    assert_eq!(answer.error(), (403, "residency_violation".into()));
    assert_eq!(answer.json()["error"]["rule"], "narrowing");
    for bad in [&["Germany"][..], &[""], &["DE", ""], &["DE,,FR"], &["\u{e4}"]] {
        assert_eq!(narrowed(bad).await.error(), (400, "invalid_header".into()), "{bad:?}");
    }
    assert_eq!(scene.engine.submitted(), 2);
}

#[tokio::test]
async fn every_error_of_the_engine_has_a_status_and_a_code() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let model = ModelId::new("small");
    let soon = Duration::from_millis(2500);
    let prompt = EngineError::PromptTooLong { prompt_tokens: 99, context: 64 };
    scene.engine.next(Script::RefusePrepare(prompt));
    let answer = client.post(chat(json!({}))).await;
    assert_eq!(answer.error(), (400, "context_length_exceeded".into()));
    assert!(answer.text().contains("64") && answer.text().contains("99"));

    let invalid = EngineError::Invalid { param: "logit_bias", message: "is too wide".into() };
    let unavailable = EngineError::Unavailable { model: model.clone(), retry_after: soon };
    let table = [
        (EngineError::UnknownModel(model), 404, "model_not_found", None),
        (invalid, 400, "invalid_value", None),
        (EngineError::Overloaded { retry_after: soon * 100 }, 429, "overloaded", Some("60")),
        (unavailable, 503, "model_unavailable", Some("3")),
        (EngineError::DeadlineExceeded { retry_after: soon }, 503, "deadline_exceeded", Some("3")),
        (EngineError::Quarantined, 500, "request_quarantined", None),
        (EngineError::Draining, 503, "draining", Some("1")),
        (EngineError::Unsupported("logprobs"), 400, "unsupported_parameter", None),
        (EngineError::Internal, 500, "internal_error", None),
    ];
    for (error, status, code, retry_after) in table {
        scene.engine.next(Script::RefuseSubmit(error.clone()));
        let answer = client.post(chat(json!({}))).await;
        assert_eq!(answer.error(), (status, code.into()), "{error:?}");
        assert_eq!(answer.header("retry-after"), retry_after, "{error:?}");
        assert!(answer.header("x-hanse-receipt").is_some());
        let retry = (error == EngineError::Quarantined).then_some("false");
        assert_eq!(answer.header("x-should-retry"), retry);
    }
}

#[tokio::test]
async fn an_unknown_model_is_404_and_names_the_field() {
    let scene = Scene::new().await;
    let answer = scene.tenant("clinic").post(chat(json!({"model": "none"}))).await;
    assert_eq!(answer.error(), (404, "model_not_found".into()));
    assert_eq!(answer.json()["error"]["param"], "model");
}

#[tokio::test]
async fn limits_are_429_with_the_time_to_wait() {
    let scene = Scene::new().await;
    let slow = scene.tenant("slow");
    for left in ["1", "0"] {
        let answer = slow.post(chat(json!({}))).await;
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some(left));
    }
    let answer = slow.post(chat(json!({}))).await;
    assert_eq!(answer.error(), (429, "rate_limit_exceeded".into()));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");

    let single = scene.tenant("single");
    let running = scene.engine.live();
    let first = single.stream(json!({})).await;
    let answer = single.post(chat(json!({}))).await;
    assert_eq!(answer.error(), (429, "rate_limit_exceeded".into()));
    drop(running);
    first.into_body().collect().await.unwrap();
    assert_eq!(single.post(chat(json!({}))).await.status, 200, "the place is free again");
}

#[tokio::test]
async fn a_stream_that_fails_says_so_and_never_says_done() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let failing = vec![placed(), token(0, 0, "a"), Err(EngineError::Internal)];
    let cut = vec![placed(), token(0, 0, "a")];
    let foreign = vec![placed(), token(5, 0, "a")];
    for steps in [failing, cut, foreign] {
        scene.engine.next(Script::Events(steps));
        let response = client.stream(json!({})).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        let last: serde_json::Value =
            serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(last["error"]["code"], "internal_error");
        assert!(!text.contains("[DONE]"));
    }
    scene.engine.next(Script::Events(vec![placed(), Err(EngineError::Internal)]));
    assert_eq!(client.post(chat(json!({}))).await.error(), (500, "internal_error".into()));
}

#[tokio::test]
async fn a_panic_is_a_constant_500_and_the_gateway_lives_on() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    scene.engine.next(Script::Panic);
    let answer = client.post(chat(json!({}))).await;
    assert_eq!(answer.error(), (500, "internal_error".into()));
    assert!(!answer.text().contains("script"));
    assert_eq!(client.post(chat(json!({}))).await.status, 200);
    let ends = crate::scene::of_kind(&scene.entries().await, "terminal");
    assert_eq!(ends.len(), 2);
    assert_eq!(
        (&ends[0]["outcome"], &ends[0]["error"]),
        (&json!("failed"), &json!("internal_error"))
    );
}

#[tokio::test]
async fn a_full_gateway_is_503() {
    let settings = Settings { requests_max: 1, ..Settings::default() };
    let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    let first = client.stream(json!({})).await;
    let answer = client.post(chat(json!({}))).await;
    assert_eq!(answer.error(), (503, "overloaded".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(running);
    first.into_body().collect().await.unwrap();
    assert_eq!(client.post(chat(json!({}))).await.status, 200);
}
