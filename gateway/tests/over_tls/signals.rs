//! What the operating system tells a gateway.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gateway::listener::{Drain, Phase};

use crate::scene::{Scene, authority, write_leaf};

/// Long enough that a test which waits for it has failed.
const NEVER: Duration = Duration::from_secs(3600);

fn signal_to_self(signal: &str) {
    let sent = Command::new("kill").args([signal, &std::process::id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_ends_it() {
    let drain = Drain::default();
    tokio::spawn(drain.on_signals(NEVER).unwrap());
    assert_eq!(drain.phase(), Phase::Serving);
    signal_to_self("-TERM");
    drain.reached(Phase::Draining).await;
    assert_eq!(drain.phase(), Phase::Draining);
    signal_to_self("-INT");
    drain.reached(Phase::Ended).await;
    drain.advance(Phase::Serving);
    assert_eq!(drain.phase(), Phase::Ended, "there is no way back");
}

#[tokio::test]
async fn the_deadline_ends_what_one_signal_began() {
    let drain = Drain::default();
    tokio::spawn(drain.on_signals(Duration::from_millis(1)).unwrap());
    drain.advance(Phase::Draining);
    drain.reached(Phase::Ended).await;
}

#[tokio::test]
async fn a_hangup_reads_the_certificate_again() {
    let scene = Scene::new().await;
    let watch = scene.certificate.watch(NEVER).unwrap();
    tokio::spawn(watch);
    let before = scene.certificate.config();
    // the first look comes at once, and sees no change
    tokio::task::yield_now().await;
    write_leaf(&authority("another authority"), &scene.chain(), &scene.private_key());
    signal_to_self("-HUP");
    while Arc::ptr_eq(&before, &scene.certificate.config()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
