//! A model's tokenizer over TLS.

use serde_json::json;

use crate::scene::{Scene, of_kind};

#[tokio::test]
async fn texts_and_chats_become_tokens_and_tokens_texts() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let text = json!({"model": "small", "prompt": "abc"});
    let answer = client.post_to("/tokenize", text).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = json!({"count": 3, "max_model_len": 64, "tokens": [0, 1, 2],
        "token_strs": null});
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("10000"));
    let bare = json!({"model": "small", "prompt": "ba", "add_special_tokens": false,
        "return_token_strs": true});
    let answer = client.post_to("/tokenize", bare).await.json();
    assert_eq!((&answer["tokens"], &answer["token_strs"]), (&json!([1, 0]), &json!(["b", "a"])));
    let chat = json!({"model": "small", "messages": [{"role": "user", "content": "x"},
        {"role": "user", "content": "y"}]});
    assert_eq!(client.post_to("/tokenize", chat).await.json()["count"], 2);
    let ids = json!({"model": "small", "tokens": [2, 0, 1]});
    assert_eq!(client.post_to("/detokenize", ids).await.json(), json!({"prompt": "cab"}));
    let unknown = json!({"model": "small", "tokens": [99]});
    let answer = client.post_to("/detokenize", unknown).await;
    assert_eq!(answer.error(), (400, "invalid_value".into()));
    assert_eq!(answer.json()["error"]["param"], "tokens");
}

#[tokio::test]
async fn whoever_may_not_use_a_model_may_not_tokenize_with_it() {
    let scene = Scene::new().await;
    for (tenant, model, status, code) in [
        ("picky", "small", 403, "model_not_allowed"),
        ("clinic", "french", 403, "residency_violation"),
        ("closed", "small", 403, "tenant_disabled"),
        ("clinic", "none", 404, "model_not_found"),
    ] {
        let client = scene.tenant(tenant);
        for (path, body) in [
            ("/tokenize", json!({"model": model, "prompt": "a"})),
            ("/tokenize", json!({"model": model, "prompt": "a", "add_special_tokens": false})),
            ("/detokenize", json!({"model": model, "tokens": [0]})),
        ] {
            let answer = client.post_to(path, body).await;
            assert_eq!(answer.error(), (status, code.into()), "{tenant} {path}");
            assert!(answer.header("x-hanse-receipt").is_none());
        }
    }
    // it counts as a request
    let slow = scene.tenant("slow");
    let text = json!({"model": "small", "prompt": "a"});
    for expected in [200, 200, 429] {
        assert_eq!(slow.post_to("/tokenize", text.clone()).await.status, expected);
    }
    assert_eq!(of_kind(&scene.entries().await, "decision").len(), 0, "no flood of entries");
}
