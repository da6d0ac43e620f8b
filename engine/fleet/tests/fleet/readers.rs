//! Readers that are slow, or go away.

use std::time::Duration;

use engine_api::TokenId;
use engine_fleet::Fleet;
use futures_util::future::join_all;
use libtest_mimic::Trial;

use crate::site::{Reading, Site, answer, started, until};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_dropped_stream_frees_its_blocks", a_dropped_stream_frees_its_blocks),
        trial("a_slow_reader_is_paused_and_resumed", a_slow_reader_is_paused_and_resumed),
        trial("a_paused_request_has_cached_what_it_began_with", cached_before_the_pause),
        trial("a_storm_of_cancels_leaves_nothing", a_storm_of_cancels_leaves_nothing),
    ]
}

async fn idle(fleet: &Fleet) {
    until(fleet, |all| {
        all.iter().all(|one| {
            let load = one.load;
            load.blocks_total > 0 && load.blocks_used + load.running + load.waiting == 0
        })
    })
    .await;
}

async fn a_dropped_stream_frees_its_blocks() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let mut reading = Reading::start(&fleet, site.submission(0, 1900)).await.unwrap();
    // read on until a report shows its blocks: one that nobody reads is paused and gives them back
    let mut tokens = 2;
    while fleet.partitions()[0].load.blocks_used == 0 {
        reading.tokens(tokens).await;
        tokens += 2;
    }
    drop(reading);
    idle(&fleet).await;

    // a caller that does not even wait for the first token
    let submission = site.submission(0, 1900);
    let started = Reading::start(&fleet, submission);
    let _ = tokio::time::timeout(Duration::from_millis(1), started).await;
    idle(&fleet).await;
}

async fn a_slow_reader_is_paused_and_resumed() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.limits.stream_events_max = 16;
    let fleet = started(config).await;
    let expected = answer(&fleet, site.submission(0, 400)).await.unwrap();

    let mut slow = Reading::start(&fleet, site.submission(0, 400)).await.unwrap();
    slow.tokens(1).await;
    // nobody reads it: it gives its blocks back, far from its end
    idle(&fleet).await;
    let other = answer(&fleet, site.submission(5, 100)).await.unwrap();
    assert_eq!(other.ids[0].len(), 100);
    slow.tokens(200).await;
    idle(&fleet).await;
    let (got, places) = slow.rest().await.unwrap();
    assert_eq!(got, expected);
    assert!(places.len() > 1, "it was paused");
    assert!(places.iter().all(|place| place.epoch.0 == 1), "no worker died");
}

/// What a request computed before its pause is in the cache when it goes on, and none of that
/// counts.
async fn cached_before_the_pause() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.limits.stream_events_max = 16;
    let fleet = started(config).await;
    let ids: Vec<_> = (0..100).map(|place| TokenId(10 + place * 7 % 200)).collect();
    for cached_tokens in [0, 96] {
        let before = fleet.partitions()[0].done.generation_tokens;
        let mut slow = Reading::start(&fleet, site.of_ids(1, ids.clone(), 200)).await.unwrap();
        slow.tokens(1).await;
        // one was read, 16 wait, and there is no room for the next
        until(&fleet, |all| all[0].done.generation_tokens >= before + 18).await;
        idle(&fleet).await;
        let (answer, places) = slow.rest().await.unwrap();
        assert!(places.len() > 1, "it was paused");
        assert_eq!(answer.usage.unwrap().cached_tokens, cached_tokens);
    }
}

async fn a_storm_of_cancels_leaves_nothing() {
    let site = Site::new();
    let fleet = site.fleet(&["a", "b"]).await;
    let expected = answer(&fleet, site.submission(7, 60)).await.unwrap();
    let steady = answer(&fleet, site.submission(7, 60));
    let storm = (0..300).map(|number| {
        let (site, fleet) = (&site, &fleet);
        async move {
            let started = Reading::start(fleet, site.submission(number, 500));
            let patience = Duration::from_micros(u64::from(number * 37 % 400) * 100);
            if let Ok(Ok(mut reading)) = tokio::time::timeout(patience, started).await {
                reading.tokens(number as usize % 4).await;
            }
        }
    });
    let (steady, _) = tokio::join!(steady, join_all(storm));
    assert_eq!(steady.unwrap(), expected);
    idle(&fleet).await;
    assert!(fleet.partitions().iter().all(|one| one.epoch.0 == 1), "no worker died");
}
