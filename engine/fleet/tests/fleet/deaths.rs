//! Workers that die while they answer.

use engine_api::{Choices, EngineError, StopStrings, TokenId};
use engine_fleet::{Fleet, PartitionState, PartitionStatus};
use futures_util::future::join_all;
use libtest_mimic::Trial;

use crate::site::{Answer, Reading, Site, answer, kill, started, until, worker};
use crate::trial;

/// A token that no other prompt of these tests has.
const POISON: u32 = 250;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_killed_worker_is_not_noticed", a_killed_worker_is_not_noticed),
        trial("a_new_worker_does_not_change_what_was_cached", cached_before_the_death),
        trial("another_partition_takes_over", another_partition_takes_over),
        trial("choices_and_stop_strings_survive", choices_and_stop_strings_survive),
        trial("reasoning_and_calls_come_once", reasoning_and_calls_come_once),
        trial("poison_is_quarantined_alone", poison_is_quarantined_alone),
        trial("a_hanging_worker_is_replaced", a_hanging_worker_is_replaced),
        trial("nobody_waits_for_ever", nobody_waits_for_ever),
        trial("counters_outlive_their_workers", counters_outlive_their_workers),
    ]
}

/// Whether to run everything, or a sample that is quick.
fn full() -> bool {
    std::env::var_os("HANSE_FULL").is_some()
}

fn pid(fleet: &Fleet, partition: usize) -> u32 {
    fleet.partitions()[partition].pid.unwrap()
}

/// What requests give when nothing happens.
async fn undisturbed(site: &Site, fleet: &Fleet, count: u32, tokens: u32) -> Vec<Answer> {
    let all = (0..count).map(|number| answer(fleet, site.submission(number, tokens)));
    join_all(all).await.into_iter().map(Result::unwrap).collect()
}

async fn a_killed_worker_is_not_noticed() {
    let site = Site::new();
    let moments: &[usize] =
        if full() { &[0, 1, 2, 5, 17, 40, 80, 150, 300, 500, 598] } else { &[0, 3, 300] };
    let fleet = site.fleet(&["a"]).await;
    let expected = undisturbed(&site, &fleet, 8, 600).await;
    for &moment in moments {
        let began = (0..8).map(|number| Reading::start(&fleet, site.submission(number, 600)));
        let mut readings: Vec<_> = join_all(began).await.into_iter().map(Result::unwrap).collect();
        readings[0].tokens(moment).await;
        let epoch = fleet.partitions()[0].epoch;
        kill(pid(&fleet, 0), "9");
        let rest = join_all(readings.into_iter().map(Reading::rest)).await;
        let mut moved = 0;
        for (number, result) in rest.into_iter().enumerate() {
            let (answer, places) = result.unwrap_or_else(|error| panic!("{moment}: {error}"));
            assert_eq!(answer, expected[number], "killed at {moment}, request {number}");
            moved += usize::from(places.last().unwrap().epoch > epoch);
        }
        eprintln!("killed after {moment} tokens: {moved} of 8 went on elsewhere");
        assert!(moved > 0 || moment > 500, "the worker had ended before it was killed");
        until(&fleet, |all| all[0].state == PartitionState::Ready && all[0].epoch > epoch).await;
    }
}

/// What is read of a text is read once, wherever the worker dies.
async fn reasoning_and_calls_come_once() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let submission = |moment: usize| {
        let mut submission = site.submission(3, 200);
        // a call's id is made of the request's
        submission.id = engine_api::RequestId::new("same");
        submission.prompt.answer.reading.reasoning = engine_api::ReasoningFormat::Think;
        submission.prompt.answer.reading.begins_in_reasoning = moment > 0;
        submission
    };
    let plain = answer(&fleet, site.submission(3, 200)).await.unwrap();
    let without = answer(&fleet, submission(0)).await.unwrap();
    assert_eq!((&without.texts, &without.replies[0].content), (&plain.texts, &plain.texts[0]));
    for moment in [1, 60] {
        let mut reading = Reading::start(&fleet, submission(moment)).await.unwrap();
        reading.tokens(moment).await;
        kill(pid(&fleet, 0), "9");
        let (answer, _) = reading.rest().await.unwrap();
        assert_eq!(answer.replies[0].reasoning.trim(), plain.texts[0].trim());
        assert_eq!(answer.replies[0].content, "");
        assert_eq!(answer.ids, plain.ids);
    }
}

async fn cached_before_the_death() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let ids: Vec<_> = (0..100).map(|place| TokenId(10 + place * 7 % 200)).collect();
    let submission = || site.of_ids(1, ids.clone(), 600);
    let before = answer(&fleet, submission()).await.unwrap();
    let mut reading = Reading::start(&fleet, submission()).await.unwrap();
    reading.tokens(3).await;
    kill(pid(&fleet, 0), "9");
    let (after, places) = reading.rest().await.unwrap();
    assert!(places.len() > 1, "the worker had ended before it was killed");
    assert_eq!(after.ids, before.ids);
    // the new worker had nothing in its cache
    assert_eq!(before.usage.unwrap().cached_tokens, 0);
    assert_eq!(after.usage.unwrap().cached_tokens, 96);
}

async fn another_partition_takes_over() {
    let site = Site::new();
    let mut config = site.config(&["a", "b"]);
    // the dead one stays dead for longer than this test takes
    config.limits.restart_wait_min = std::time::Duration::from_secs(60);
    config.limits.restart_wait_max = std::time::Duration::from_secs(60);
    let fleet = started(config).await;
    let expected = undisturbed(&site, &fleet, 6, 200).await;
    let began = (0..6).map(|number| Reading::start(&fleet, site.submission(number, 200)));
    let mut readings: Vec<_> = join_all(began).await.into_iter().map(Result::unwrap).collect();
    for reading in &mut readings {
        reading.tokens(2).await;
    }
    let used = |readings: &[Reading], zone: &str| {
        readings.iter().filter(|one| one.places[0].zone.as_str() == zone).count()
    };
    assert!(used(&readings, "a") > 0 && used(&readings, "b") > 0, "both are used");
    kill(pid(&fleet, 0), "9");
    let rest = join_all(readings.into_iter().map(Reading::rest)).await;
    for (number, result) in rest.into_iter().enumerate() {
        let (answer, places) = result.unwrap();
        assert_eq!(answer, expected[number], "request {number}");
        assert_eq!(places.last().unwrap().zone.as_str(), "b");
    }
}

async fn choices_and_stop_strings_survive() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let submission = || {
        let mut submission = site.submission(3, 600);
        submission.choices = Choices::new(4).unwrap();
        submission.stopping.ignore_eos = false;
        // long enough that the worker is still at it when it is killed
        submission.stopping.min_tokens = 300;
        submission.stopping.stop = StopStrings::new(vec!["e".into(), "th".into()]).unwrap();
        submission
    };
    let expected = answer(&fleet, submission()).await.unwrap();
    for moment in [1, 90, 1190] {
        let mut reading = Reading::start(&fleet, submission()).await.unwrap();
        let whole: usize = expected.ids.iter().map(Vec::len).sum();
        reading.tokens(moment.min(whole - 1)).await;
        kill(pid(&fleet, 0), "9");
        let (answer, places) = reading.rest().await.unwrap();
        assert_eq!(answer, expected, "killed at {moment}");
        assert!(places.len() > 1 || moment > 1, "the worker had ended before it was killed");
    }
}

async fn poison_is_quarantined_alone() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.worker = worker(&["--fault-token", &POISON.to_string()]);
    let fleet = started(config).await;
    let expected = undisturbed(&site, &fleet, 5, 300).await;
    let began = (0..5).map(|number| Reading::start(&fleet, site.submission(number, 300)));
    let mut readings: Vec<_> = join_all(began).await.into_iter().map(Result::unwrap).collect();
    readings[0].tokens(5).await;
    let poison = || site.of_ids(99, vec![TokenId(20), TokenId(POISON), TokenId(21)], 10);
    let (bad, rest) =
        tokio::join!(answer(&fleet, poison()), join_all(readings.into_iter().map(Reading::rest)),);
    assert_eq!(bad, Err(EngineError::Quarantined));
    let incidents = fleet.incidents();
    assert_eq!(incidents.quarantined, 1, "{incidents:?}");
    assert!(incidents.resumed >= 6, "the poison once and the five beside it: {incidents:?}");
    for (number, result) in rest.into_iter().enumerate() {
        assert_eq!(result.unwrap().0, expected[number], "request {number}");
    }
    // two workers died of it, and no third one does when the client tries again
    until(&fleet, |all| all[0].state == PartitionState::Ready).await;
    assert_eq!(fleet.partitions()[0].epoch.0, 3);
    assert_eq!(answer(&fleet, poison()).await, Err(EngineError::Quarantined));
    assert_eq!(answer(&fleet, site.submission(0, 300)).await.unwrap(), expected[0]);
    assert_eq!(fleet.partitions()[0].epoch.0, 3);
}

async fn a_hanging_worker_is_replaced() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.limits.heartbeat_max = std::time::Duration::from_millis(1500);
    let fleet = started(config).await;
    let expected = answer(&fleet, site.submission(1, 400)).await.unwrap();
    let mut reading = Reading::start(&fleet, site.submission(1, 400)).await.unwrap();
    reading.tokens(3).await;
    kill(pid(&fleet, 0), "STOP");
    assert_eq!(reading.rest().await.unwrap().0, expected);
    assert!(fleet.partitions()[0].last_failure.as_ref().unwrap().contains("said nothing"));
}

async fn nobody_waits_for_ever() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.limits.failover_wait_max = std::time::Duration::from_millis(200);
    config.limits.restart_wait_min = std::time::Duration::from_secs(60);
    config.limits.restart_wait_max = std::time::Duration::from_secs(60);
    let fleet = started(config).await;
    let mut reading = Reading::start(&fleet, site.submission(1, 1500)).await.unwrap();
    reading.tokens(3).await;
    kill(pid(&fleet, 0), "9");
    match reading.rest().await {
        Err(EngineError::Unavailable { .. }) => {}
        other => panic!("{other:?}"),
    }
}

async fn counters_outlive_their_workers() {
    let site = Site::new();
    let fleet = started(site.config(&["a"])).await;
    let (prompt, drawn) = (site.submission(1, 50).prompt.ids.len() as u64, 50);
    let mut expected = (0, 0);
    for round in 1..=3 {
        answer(&fleet, site.submission(1, 50)).await.unwrap();
        expected = (round * prompt, round * drawn);
        let counted = |all: &[PartitionStatus]| {
            (all[0].done.prompt_tokens, all[0].done.generation_tokens) == expected
        };
        until(&fleet, counted).await;
        kill(pid(&fleet, 0), "9");
        until(&fleet, |all| all[0].epoch.0 == round + 1 && all[0].pid.is_some()).await;
        let done = fleet.partitions()[0].done;
        assert_eq!((done.prompt_tokens, done.generation_tokens), expected, "after the death");
        until(&fleet, |all| all[0].state == PartitionState::Ready).await;
    }
    let done = fleet.partitions()[0].done;
    assert_eq!((done.prompt_tokens, done.generation_tokens), expected);
    assert_eq!(fleet.incidents(), Default::default(), "nobody was on these workers");
}
