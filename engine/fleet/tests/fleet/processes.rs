//! Starts, ends and orphans.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use engine_api::{Engine, EngineError, ModelDigest};
use engine_fleet::{Fleet, PartitionState};
use libtest_mimic::Trial;
use tokio::time::{Instant, timeout};

use crate::site::{Reading, SOON, Site, answer, itself, kill, runs, until, worker};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("other_weights_are_refused", other_weights_are_refused),
        trial("a_program_that_is_no_worker_is_said_to_be_none", no_worker),
        trial("a_crash_loop_is_visible", a_crash_loop_is_visible),
        trial("draining_ends_everything", draining_ends_everything),
        trial("dropping_ends_the_workers", dropping_ends_the_workers),
        trial("a_killed_gateway_leaves_no_worker", a_killed_gateway_leaves_no_worker),
    ]
}

async fn other_weights_are_refused() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    let wrong = ModelDigest([7; 32]);
    config.models[0].digest = wrong;
    config.limits.ready_wait_max = Duration::from_millis(100);
    let fleet = Fleet::start(config).unwrap();
    until(&fleet, |all| matches!(all[0].state, PartitionState::Down { .. })).await;
    let failure = fleet.partitions()[0].last_failure.clone().unwrap();
    assert!(failure.contains(&format!("{}", site.digest)), "{failure}");
    assert!(failure.contains(&format!("{wrong} is expected")), "{failure}");
    assert!(!fleet.is_ready(&engine_api::ModelId::new("tiny")));
    let mut submission = site.submission(0, 3);
    submission.prompt.model_digest = wrong;
    match answer(&fleet, submission).await {
        Err(EngineError::Unavailable { .. }) => {}
        other => panic!("{other:?}"),
    }
}

async fn no_worker() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.worker.program = "/nowhere/at/all".into();
    let fleet = Fleet::start(config).unwrap();
    until(&fleet, |all| all[0].failures >= 2).await;
    let failure = fleet.partitions()[0].last_failure.clone().unwrap();
    assert!(failure.contains("cannot start the worker"), "{failure}");

    let mut config = site.config(&["a"]);
    config.worker = worker(&["--no-such-flag"]);
    let fleet = Fleet::start(config).unwrap();
    until(&fleet, |all| all[0].failures >= 1).await;
    let failure = fleet.partitions()[0].last_failure.clone().unwrap();
    assert!(failure.contains("exit status: 2"), "{failure}");
}

async fn a_crash_loop_is_visible() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    for start in 1..=3 {
        let mut killed = None;
        until(&fleet, |all| {
            if all[0].state == PartitionState::Ready && all[0].epoch.0 == start {
                killed = all[0].pid;
            }
            killed.is_some()
        })
        .await;
        kill(killed.unwrap(), "9");
    }
    until(&fleet, |all| all[0].state == PartitionState::Ready && all[0].epoch.0 == 4).await;
    let status = fleet.partitions().remove(0);
    assert_eq!(status.failures, 3);
    assert!(status.last_failure.unwrap().contains("signal: 9"));
}

async fn draining_ends_everything() {
    let site = Site::new();
    let fleet = site.fleet(&["a", "b"]).await;
    let pids: Vec<_> = fleet.partitions().iter().map(|one| one.pid.unwrap()).collect();
    let mut long = Reading::start(&fleet, site.submission(0, 1900)).await.unwrap();
    long.tokens(1).await;
    let short = Reading::start(&fleet, site.submission(1, 5)).await.unwrap();
    let drained = {
        let fleet = fleet.clone();
        tokio::spawn(async move { fleet.drain(Instant::now() + Duration::from_millis(300)).await })
    };
    // one that began before may end; new ones are refused as soon as draining began
    assert!(short.rest().await.is_ok());
    let refused = async {
        loop {
            match answer(&fleet, site.submission(2, 1)).await {
                Err(EngineError::Draining) => return,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(SOON, refused).await.expect("new requests are refused");
    timeout(SOON, drained).await.expect("draining ends").unwrap();
    assert!(pids.iter().all(|pid| !runs(*pid)), "a worker is left");
    assert!(fleet.partitions().iter().all(|one| one.state == PartitionState::Stopped));
    // nobody read it to its end before the deadline
    assert_eq!(long.rest().await, Err(EngineError::Draining));
}

async fn dropping_ends_the_workers() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let pid = fleet.partitions()[0].pid.unwrap();
    let mut reading = Reading::start(&fleet, site.submission(0, 1900)).await.unwrap();
    reading.tokens(1).await;
    drop(fleet);
    gone(pid).await;
    assert_eq!(reading.rest().await, Err(EngineError::Draining));
}

async fn a_killed_gateway_leaves_no_worker() {
    let mut host = Command::new(itself()).arg("host").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    assert!(runs(pid));
    host.kill().unwrap();
    host.wait().unwrap();
    gone(pid).await;
}

/// A process with a fleet, which says its worker's process number and waits to be killed.
pub fn host() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let site = Site::new();
        let fleet = site.fleet(&["a"]).await;
        println!("{}", fleet.partitions()[0].pid.unwrap());
        std::future::pending::<()>().await;
    });
}

async fn gone(pid: u32) {
    let ended = async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, ended).await.expect("the worker ends");
}
