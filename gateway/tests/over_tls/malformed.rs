//! Bodies that nobody should send: each is a clear 4xx and none is a crash.

use std::time::Duration;

use bytes::Bytes;
use gateway::api::ApiBounds;
use gateway::server::Settings;
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio_stream::StreamExt;

use crate::client::{Body, chat};
use crate::scene::{Scene, Setup};

fn in_pieces(bytes: &'static [u8], length: usize) -> Body {
    let pieces = tokio_stream::iter(bytes.chunks(length))
        .map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(piece))));
    BodyExt::boxed(StreamBody::new(pieces))
}

#[tokio::test]
async fn malformed_bodies_are_400_and_say_why() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let deep = format!(r#"{{"model":"small","messages":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let wide = format!(r#"{{"model":"small","messages":[{}1]}}"#, "1,".repeat(300_000));
    let table: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), "invalid_json"),
        (b"{".into(), "invalid_json"),
        (b"nonsense".into(), "invalid_json"),
        (b"[]".into(), "invalid_type"),
        (b"5".into(), "invalid_type"),
        (b"null".into(), "invalid_type"),
        (b"{}".into(), "missing_required_parameter"),
        (b"{\"model\":\"small\",\"model\":\"small\"}".into(), "invalid_json"),
        (b"{\"model\":\"small\",\"MODEL\":\"small\"}".into(), "invalid_value"),
        (b"{\"model\":\"sm\xffall\"}".into(), "invalid_json"),
        (b"{\"model\":NaN}".into(), "invalid_json"),
        (b"{\"temperature\":Infinity}".into(), "invalid_json"),
        (b"{\"temperature\":1e999}".into(), "invalid_json"),
        (b"{\"model\":\"\\ud800\"}".into(), "invalid_json"),
        (deep.into_bytes(), "invalid_json"),
        (wide.into_bytes(), "invalid_json"),
        (b"\x00\x00".into(), "invalid_json"),
        (b"\xef\xbb\xbf{}".into(), "invalid_json"),
    ];
    for (body, code) in table {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = client.post_bytes(body).await;
        assert_eq!(answer.error(), (400, code.into()), "{shown}: {}", answer.text());
        assert!(answer.bytes.len() < 1000, "an error never echoes a body: {shown}");
    }
    for (field, value) in [
        ("temperature", json!(-1)),
        ("n", json!(1_000_000)),
        ("max_tokens", json!(-5)),
        ("logit_bias", json!({"99999999999": 1})),
        ("messages", json!([])),
        ("stop", json!([[]])),
        ("tools", json!([{"type": "function", "function": {"name": 1}}])),
        ("response_format", json!({"type": "xml"})),
    ] {
        let answer = client.post(chat(json!({field: value}))).await;
        assert_eq!(answer.status, 400, "{field}");
        assert!(answer.json()["error"]["param"].as_str().unwrap().starts_with(field));
    }
    assert_eq!(scene.engine.submitted(), 0);
}

#[tokio::test]
async fn a_body_may_come_byte_by_byte() {
    let scene = Scene::new().await;
    let short: &'static [u8] = chat(json!({})).to_string().leak().as_bytes();
    let long: &'static [u8] = chat(json!({"user": "u".repeat(5000)})).to_string().leak().as_bytes();
    let (one, two) = (scene.tenant_http1("clinic"), scene.tenant("clinic"));
    for (client, body) in [(&one, long), (&two, short)] {
        let request = client.request(Method::POST, "/v1/chat/completions");
        let answer = client.whole(request.body(in_pieces(body, 1)).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_flood_of_tiny_frames_costs_its_sender_the_connection() {
    let scene = Scene::new().await;
    let flood: &'static [u8] = " ".repeat(50_000).leak().as_bytes();
    let client = scene.tenant("clinic");
    let request = client.request(Method::POST, "/v1/chat/completions");
    let request = request.body(in_pieces(flood, 1)).unwrap();
    client
        .try_send(request)
        .await
        .expect_err("an HTTP/2 frame of one byte costs more than it carries");
    assert_eq!(scene.tenant("clinic").post(chat(json!({}))).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_413_with_the_limit() {
    let api = ApiBounds { body_bytes_max: 10_000, ..ApiBounds::default() };
    let settings = Settings { api, ..Settings::default() };
    let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
    let long: &'static [u8] = " ".repeat(10_001).leak().as_bytes();
    for client in [scene.tenant("clinic"), scene.tenant_http1("clinic")] {
        // once with its length said before, once without
        let answer = client.post_bytes(long).await;
        assert_eq!(answer.error(), (413, "body_too_large".into()));
        assert!(answer.text().contains("10000"));
        let request = client.request(Method::POST, "/v1/chat/completions");
        let answer = client.whole(request.body(in_pieces(long, 500)).unwrap()).await;
        assert_eq!(answer.error(), (413, "body_too_large".into()));
        let exact = client.post_bytes(&long[..10_000]).await;
        assert_eq!(exact.error(), (400, "invalid_json".into()));
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_408() {
    let api = ApiBounds { body_read_max: Duration::from_millis(100), ..ApiBounds::default() };
    let settings = Settings { api, ..Settings::default() };
    let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
    for client in [scene.tenant("clinic"), scene.tenant_http1("clinic")] {
        let first = tokio_stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from("{")))]);
        let body = BodyExt::boxed(StreamBody::new(first.chain(tokio_stream::pending())));
        let request = client.request(Method::POST, "/v1/chat/completions");
        let answer = client.whole(request.body(body).unwrap()).await;
        assert_eq!(answer.error(), (408, "body_timeout".into()));
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_by_name() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let request = client
        .request(Method::POST, "/v1/chat/completions")
        .header("content-encoding", "gzip")
        .body(in_pieces(b"\x1f\x8b", 1))
        .unwrap();
    let answer = client.whole(request).await;
    assert_eq!(answer.error(), (400, "unsupported_encoding".into()));
}
