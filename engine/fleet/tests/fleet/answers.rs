//! Answers when nothing goes wrong, and refusals.

use std::time::Duration;

use engine_api::{
    CacheNamespace, Choices, Conversation, Demand, Engine, EngineError, LogitBias, Message,
    ModelId, PrepareRequest, PromptSource, RepetitionPenalty, Role, StopStrings, Temperature,
    TokenId, ZoneId,
};
use engine_fleet::PartitionState;
use futures_util::future::join_all;
use libtest_mimic::Trial;

use crate::site::{Reading, Site, answer, started, until};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("together_is_as_alone", together_is_as_alone),
        trial("an_answer_has_its_events_in_order", an_answer_has_its_events_in_order),
        trial("the_next_turn_takes_the_ids_that_were_drawn", the_next_turn_takes_what_was_drawn),
        trial("a_deadline_that_is_over_is_refused", a_deadline_that_is_over_is_refused),
        trial("a_zone_outside_is_never_used", a_zone_outside_is_never_used),
        trial("a_busy_worker_says_so", a_busy_worker_says_so),
        trial("a_bias_outside_the_vocabulary_is_refused", a_bias_outside_is_refused),
    ]
}

async fn together_is_as_alone() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let mut alone = Vec::new();
    for number in 0..16 {
        alone.push(answer(&fleet, site.submission(number, 40)).await.unwrap());
    }
    let all = (0..16).map(|number| answer(&fleet, site.submission(number, 40)));
    let together: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(together, alone);
    assert_ne!(alone[0].ids, alone[1].ids, "the requests are not all the same");
}

async fn an_answer_has_its_events_in_order() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let mut submission = site.submission(1, 30);
    submission.choices = Choices::new(3).unwrap();
    let prompt_tokens = submission.prompt.ids.len() as u32;
    let (answer, places) = Reading::start(&fleet, submission).await.unwrap().rest().await.unwrap();
    let [place] = places.as_slice() else { panic!("placed {} times", places.len()) };
    assert_eq!(place.zone, ZoneId::new("a"));
    assert_eq!(place.model_digest, site.digest);
    assert_eq!(place.epoch.0, 1);
    assert!(answer.ids.iter().all(|ids| ids.len() == 30));
    assert_ne!(answer.ids[0], answer.ids[1], "choices differ");
    let usage = answer.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (prompt_tokens, 90));

    // what a stop string cuts off is in no event
    let whole = answer.texts[0].clone();
    let stop = whole.chars().skip(10).take(2).collect::<String>();
    let mut submission = site.submission(1, 30);
    submission.stopping.stop = StopStrings::new(vec![stop.clone()]).unwrap();
    let cut = crate::site::answer(&fleet, submission).await.unwrap();
    assert_eq!(cut.texts[0], whole[..whole.find(&stop).unwrap()]);
}

/// A chat in a namespace.
fn chat(turns: &[(Role, &str)], namespace: u8) -> PrepareRequest {
    let message = |(role, content): &(Role, &str)| Message {
        role: *role,
        content: Some((*content).to_owned()),
        reasoning: None,
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    let messages = turns.iter().map(message).collect();
    PrepareRequest {
        model: ModelId::new("tiny"),
        source: PromptSource::Chat(Conversation { messages, tools: Vec::new() }),
        demand: Demand::default(),
        namespace: CacheNamespace([namespace; 16]),
        now: 0,
        max_tokens: None,
    }
}

async fn the_next_turn_takes_what_was_drawn() {
    const END: TokenId = TokenId(2);
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let id = |text| fleet.tokenize(&ModelId::new("tiny"), text).unwrap()[0];
    let (h, e) = (id("h"), id("e"));
    assert_eq!(fleet.tokenize(&ModelId::new("tiny"), "he").unwrap().len(), 1);
    let prompt = fleet.prepare(chat(&[(Role::User, "xx")], 1)).await.unwrap();

    let mut submission = site.of_ids(1, prompt.ids.to_vec(), 10);
    submission.namespace = CacheNamespace([1; 16]);
    submission.sampling.temperature = Temperature::GREEDY;
    // the end is barred at first; an `h` that was drawn, and the end, which the prompt has, are
    // worth half
    let bias = [(h, 80.0), (e, 60.0), (END, 100.0)];
    submission.sampling.logit_bias = LogitBias::new(bias.into()).unwrap();
    submission.sampling.repetition_penalty = RepetitionPenalty::new(2.0).unwrap();
    submission.stopping.ignore_eos = false;
    submission.stopping.min_tokens = 2;
    let answer = answer(&fleet, submission).await.unwrap();
    assert_eq!((answer.ids[0].as_slice(), answer.texts[0].as_str()), (&[h, e, END][..], "he"));

    let turns = [(Role::User, "xx"), (Role::Assistant, "he"), (Role::User, "more")];
    let next = fleet.prepare(chat(&turns, 1)).await.unwrap();
    assert!(next.ids.starts_with(&[&prompt.ids[..], &answer.ids[0]].concat()));
    let other = fleet.prepare(chat(&turns, 2)).await.unwrap();
    assert_eq!(other.ids.len() + 1, next.ids.len(), "another tenant has the text's own ids");
}

async fn a_deadline_that_is_over_is_refused() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.limits.ready_wait_max = crate::site::SOON;
    // not yet ready: the request waits for longer than it has
    let fleet = engine_fleet::Fleet::start(config).unwrap();
    let mut submission = site.submission(1, 5);
    submission.deadline = Some(Duration::from_nanos(1));
    let refused = answer(&fleet, submission).await.unwrap_err();
    assert!(matches!(refused, EngineError::DeadlineExceeded { .. }), "{refused}");
    let mut submission = site.submission(1, 5);
    submission.deadline = Some(crate::site::SOON);
    assert!(answer(&fleet, submission).await.is_ok());
}

async fn a_zone_outside_is_never_used() {
    let site = Site::new();
    let mut config = site.config(&["a", "b"]);
    // no block fits into this, so the worker of zone a never starts
    config.partitions[0].kv_bytes = 1;
    config.limits.ready_wait_max = std::time::Duration::from_millis(300);
    let fleet = engine_fleet::Fleet::start(config).unwrap();
    until(&fleet, |all| {
        matches!(all[0].state, PartitionState::Down { .. }) && all[1].state == PartitionState::Ready
    })
    .await;
    for zones in [vec!["a"], vec!["c"], vec!["a", "c"], vec![]] {
        let mut submission = site.submission(0, 4);
        submission.zones = zones.iter().map(|zone| ZoneId::new(*zone)).collect();
        let model = submission.prompt.model.clone();
        match answer(&fleet, submission).await {
            Err(EngineError::Unavailable { model: named, .. }) => assert_eq!(named, model),
            other => panic!("{zones:?}: {other:?}"),
        }
    }
    let mut submission = site.submission(0, 4);
    submission.zones = vec![ZoneId::new("a"), ZoneId::new("b")];
    let (_, places) = Reading::start(&fleet, submission).await.unwrap().rest().await.unwrap();
    assert!(places.iter().all(|place| place.zone == ZoneId::new("b")), "{places:?}");
    assert!(fleet.is_ready(&engine_api::ModelId::new("tiny")));
    assert!(!fleet.is_ready(&engine_api::ModelId::new("other")));
}

async fn a_busy_worker_says_so() {
    let site = Site::new();
    let mut config = site.config(&["a"]);
    config.limits.step_tokens_max = 1;
    config.limits.queue_max = 1;
    let fleet = started(config).await;
    let mut running = Reading::start(&fleet, site.submission(0, 1500)).await.unwrap();
    running.tokens(1).await;
    let more = (1..6).map(|number| answer(&fleet, site.submission(number, 4)));
    let outcomes = join_all(more).await;
    let busy = |outcome: &Result<_, _>| matches!(outcome, Err(EngineError::Overloaded { .. }));
    let refused = outcomes.iter().filter(|outcome| busy(outcome)).count();
    assert_eq!(refused, 4, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

async fn a_bias_outside_is_refused() {
    let site = Site::new();
    let fleet = site.fleet(&["a"]).await;
    let mut submission = site.submission(0, 4);
    let bias = [(engine_api::TokenId(1_000_000), 1.0)].into_iter().collect();
    submission.sampling.logit_bias = engine_api::LogitBias::new(bias).unwrap();
    match answer(&fleet, submission).await {
        Err(EngineError::Invalid { param: "logit_bias", .. }) => {}
        other => panic!("{other:?}"),
    }
    answer(&fleet, site.submission(0, 4)).await.unwrap();
}
