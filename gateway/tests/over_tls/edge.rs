//! TLS, HTTP and the life of connections.

use std::time::Duration;

use gateway::api::ApiBounds;
use gateway::listener::{Bounds, Phase, Reload};
use gateway::server::Settings;
use http_body_util::BodyExt;
use rustls::{NamedGroup, ProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Http, chat, tls};
use crate::engine::{finished, placed, token, usage};
use crate::scene::{Scene, Setup, authority, of_kind, write_leaf};

async fn connect(scene: &Scene, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut config = tls(&scene.roots);
    config.alpn_protocols = vec![alpn.to_vec()];
    let socket = TcpStream::connect(scene.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(std::sync::Arc::new(config)).connect(name, socket).await.unwrap()
}

#[tokio::test]
async fn tls_is_1_3_with_the_hybrid_group_and_both_protocols() {
    let scene = Scene::new().await;
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let stream = connect(&scene, alpn).await;
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(connection.alpn_protocol(), Some(alpn));
    }
}

/// A ClientHello as a client without TLS 1.3 sends it: no `supported_versions`.
fn hello_of_tls12() -> Vec<u8> {
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, // x25519, secp256r1
        0x00, 0x0d, 0x00, 0x06, 0x00, 0x04, 0x04, 0x03, 0x08, 0x04, // ECDSA-P256, PSS
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // uncompressed points
        0x00, 0x17, 0x00, 0x00, // extended master secret
    ];
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    body.extend([1, 0]); // no compression
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut hello = vec![22, 3, 1];
    hello.extend((body.len() as u16 + 4).to_be_bytes());
    hello.extend([1, 0]);
    hello.extend((body.len() as u16).to_be_bytes());
    hello.extend(body);
    hello
}

#[cfg(not(feature = "tls12"))]
#[tokio::test]
async fn a_client_of_tls_1_2_is_refused_with_the_alert_for_it() {
    let scene = Scene::new().await;
    let mut socket = TcpStream::connect(scene.address).await.unwrap();
    socket.write_all(&hello_of_tls12()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    // a fatal alert: protocol_version (RFC 8446, section 6)
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_and_headers_that_do_not_end_are_cut_off() {
    let edge = Bounds {
        handshake_max: Duration::from_millis(100),
        header_read_max: Duration::from_millis(100),
        ..Bounds::default()
    };
    let settings = Settings { edge, ..Settings::default() };
    let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
    let mut silent = TcpStream::connect(scene.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    let mut slow = connect(&scene, b"http/1.1").await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    // an end without TLS's own goodbye is an end, too
    let _ = slow.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_length() {
    let scene = Scene::new().await;
    let many = "a: b\r\n".repeat(500);
    let long = format!("a: {}\r\n", "b".repeat(100_000));
    for headers in [many, long] {
        let mut stream = connect(&scene, b"http/1.1").await;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        // the gateway may answer before it has read everything
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn the_certificate_changes_while_a_stream_runs() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    running.send(placed()).unwrap();
    let response = client.stream(json!({})).await;

    // half of a pair: the old one stays
    let other = authority("another authority");
    let unused = scene.chain().with_extension("unused");
    write_leaf(&other, &scene.chain(), &unused);
    scene.certificate.reload().unwrap_err();
    assert_eq!(client.post(chat(json!({}))).await.status, 200);
    std::fs::rename(&unused, scene.private_key()).unwrap();
    assert_eq!(scene.certificate.reload().unwrap(), Reload::Exchanged);
    assert_eq!(scene.certificate.reload().unwrap(), Reload::Unchanged);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(other.der().clone()).unwrap();
    let fresh = Client::new(scene.address, &roots, Http::Two, client.key.as_deref());
    assert_eq!(fresh.post(chat(json!({}))).await.status, 200);
    for step in [token(0, 0, "still here"), finished(0), usage(1)] {
        running.send(step).unwrap();
    }
    drop(running);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("still here") && text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    running.send(placed()).unwrap();
    let mut response = client.stream(json!({})).await;
    response.body_mut().frame().await.unwrap().unwrap();
    scene.drain.advance(Phase::Draining);
    // the socket is closed as soon as the gateway has noticed
    while TcpStream::connect(scene.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for step in [token(0, 0, "the end"), finished(0), usage(1)] {
        running.send(step).unwrap();
    }
    drop(running);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    let entries = scene.entries().await;
    assert_eq!(of_kind(&entries, "terminal")[0]["outcome"], "completed");
    assert_eq!(of_kind(&entries, "stopped").len(), 1);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cancelled_and_entered() {
    let scene = Scene::new().await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    running.send(placed()).unwrap();
    let mut response = client.stream(json!({})).await;
    response.body_mut().frame().await.unwrap().unwrap();
    scene.drain.advance(Phase::Ended);
    scene.engine.dropped(1).await;
    let entries = scene.entries().await;
    assert_eq!(of_kind(&entries, "terminal")[0]["outcome"], "cancelled");
}

#[tokio::test]
async fn a_silent_stream_is_kept_open_by_comments() {
    let api = ApiBounds { keep_alive_every: Duration::from_millis(20), ..ApiBounds::default() };
    let settings = Settings { api, ..Settings::default() };
    let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
    let client = scene.tenant("clinic");
    let running = scene.engine.live();
    let mut response = client.stream(json!({})).await;
    for _ in 0..2 {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), ": keep-alive\n\n");
    }
    drop(running);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_is_cancelled() {
    let api = ApiBounds {
        frames_max: 1,
        reader_stall_max: Duration::from_millis(200),
        ..ApiBounds::default()
    };
    let settings = Settings { api, ..Settings::default() };
    let scene = Scene::with(Setup { settings, ..Setup::default() }).await;
    let client = scene.tenant_http1("clinic");
    let running = scene.engine.live();
    running.send(placed()).unwrap();
    let text = "x".repeat(60_000);
    for index in 0..400 {
        running.send(token(0, index, &text)).unwrap();
    }
    let unread = client.stream(json!({})).await;
    assert_eq!(scene.tenant("clinic").post(chat(json!({}))).await.status, 200);
    // the other one's stream was dropped first
    scene.engine.dropped(2).await;
    unread.into_body().collect().await.expect_err("a broken answer does not end in good order");
    let ends = of_kind(&scene.entries().await, "terminal");
    assert_eq!(ends.iter().filter(|end| end["outcome"] == "cancelled").count(), 1);
}
