//! Both ends over a real socket.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use engine_api::{Epoch, ModelDigest, NumericsClass, Timings, Usage};
use engine_wire::bounds::{CREDIT_MAX, PROTOCOL, STEP_EVENTS_MAX};
use engine_wire::{
    Connection, Down, Listener, Loading, Step, StreamId, Up, Welcome, WireError, WorkerLink,
    connect, serve,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

struct Ends {
    _directory: tempfile::TempDir,
    fleet: WorkerLink,
    worker: Connection,
    connections: mpsc::Receiver<Connection>,
}

async fn ends() -> Ends {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/worker.sock");
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let (mut connections, server) = serve(listener, std::future::pending());
    tokio::spawn(server);
    let fleet = connect(&path, CREDIT_MAX).await.unwrap();
    let mut worker = connections.recv().await.unwrap();
    let hello = worker.down.hello().await.unwrap();
    assert_eq!((hello.protocol, hello.credit), (PROTOCOL, CREDIT_MAX));
    Ends { _directory: directory, fleet, worker, connections }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn welcome(protocol: u32) -> Up {
    Up::Welcome(Welcome {
        protocol,
        epoch: Epoch(7),
        model_digest: ModelDigest([3; 32]),
        numerics: NumericsClass::new("cpu"),
        context: 10,
        vocabulary: 20,
        blocks: 30,
        block_tokens: 32,
        kind: engine_api::ModelKind::Generate,
    })
}

#[tokio::test]
async fn frames_go_both_ways_in_order() {
    let Ends { mut fleet, mut worker, .. } = ends().await;
    worker.up.send(Up::Loading(Loading { done: 1, total: 2 })).await.unwrap();
    worker.up.send(welcome(PROTOCOL)).await.unwrap();
    assert_eq!(fleet.next().await.unwrap(), Some(Up::Loading(Loading { done: 1, total: 2 })));
    assert_eq!(fleet.next().await.unwrap(), Some(welcome(PROTOCOL)));

    fleet.outbox().cancel(StreamId(5));
    fleet.outbox().drain();
    assert_eq!(worker.down.next().await.unwrap(), Some(Down::Cancel(StreamId(5))));
    assert_eq!(worker.down.next().await.unwrap(), Some(Down::Drain));
    fleet.outbox().credit(2);
    assert_eq!(worker.down.next().await.unwrap(), Some(Down::Credit(2)));

    // the largest step that there may be
    let usage = (0..STEP_EVENTS_MAX as u64)
        .map(|n| (StreamId(n), Usage::default(), Timings::default()))
        .collect();
    let step = Up::Step(Step { usage, ..Step::empty(Epoch(7), 1) });
    worker.up.send(step.clone()).await.unwrap();
    assert_eq!(fleet.next().await.unwrap(), Some(step));
}

#[tokio::test]
async fn either_end_hears_that_the_other_is_gone() {
    let Ends { mut fleet, worker, .. } = ends().await;
    drop(worker);
    assert_eq!(fleet.next().await.unwrap(), None);

    let Ends { fleet, mut worker, .. } = ends().await;
    drop(fleet);
    let heard = timeout(SOON, worker.down.next()).await.unwrap();
    assert!(matches!(heard, Ok(None) | Err(_)), "{heard:?}");
    timeout(SOON, worker.up.closed()).await.unwrap();
}

#[tokio::test]
async fn another_version_is_refused() {
    let Ends { mut fleet, worker, .. } = ends().await;
    worker.up.send(welcome(PROTOCOL + 1)).await.unwrap();
    match fleet.next().await {
        Err(WireError::Protocol { theirs, ours: PROTOCOL }) if theirs == PROTOCOL + 1 => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_second_fleet_has_a_connection_of_its_own() {
    let Ends { _directory, worker, mut connections, .. } = ends().await;
    let path = _directory.path().join("run/worker.sock");
    let _second = connect(&path, CREDIT_MAX).await.unwrap();
    let other = timeout(SOON, connections.recv()).await.unwrap().unwrap();
    assert_ne!(worker.id, other.id);
}

#[tokio::test]
async fn only_private_places_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    match Listener::bind(&open.join("worker.sock")) {
        Err(WireError::NotPrivate(reason)) => assert!(reason.contains("755"), "{reason}"),
        other => panic!("{:?}", other.err()),
    }
    let long = directory.path().join("x".repeat(120));
    assert!(matches!(Listener::bind(&long), Err(WireError::PathTooLong { max: 107, .. })));
    let missing = connect(&directory.path().join("none.sock"), CREDIT_MAX).await;
    assert!(matches!(missing.err(), Some(WireError::Socket(_))));
}

/// Bytes that are no HTTP/2, or HTTP/2 that is no gRPC, end their connection alone.
#[tokio::test]
async fn noise_ends_its_own_connection_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ends { _directory, mut fleet, worker, connections: _connections } = ends().await;
    let path = _directory.path().join("run/worker.sock");
    let noise: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nhost: worker\r\n\r\n",
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x05\x00\x00\x00\x01",
    ];
    for bytes in noise {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        // the other end may have closed before the last byte
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
    }
    worker.up.send(welcome(PROTOCOL)).await.unwrap();
    assert_eq!(fleet.next().await.unwrap(), Some(welcome(PROTOCOL)));
}
