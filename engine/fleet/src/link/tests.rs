#![allow(clippy::unwrap_used, reason = "tests")]

use engine_api::{
    Epoch, FinishReason, Finished, ModelDigest, NumericsClass, PartitionId, Timings, Token, Usage,
    ZoneId,
};
use futures_util::FutureExt;

use super::*;
use crate::testing::submission;

const EPOCH: u64 = 5;

fn link() -> Arc<Link> {
    let placement = Placement {
        partition: PartitionId::new("p"),
        zone: ZoneId::new("a"),
        epoch: Epoch(EPOCH),
        model_digest: ModelDigest([1; 32]),
        numerics: NumericsClass::new("cpu"),
    };
    let outbox = Outbox::detached();
    let (requests_max, stream_events_max, block_tokens) = (4, 8, 32);
    Link::new(LinkConfig { placement, block_tokens, outbox, requests_max, stream_events_max })
}

fn open(link: &Arc<Link>) -> Attempt {
    link.open(submission(&["a"]), Vec::new(), None).unwrap()
}

fn suspect(link: &Arc<Link>) -> Attempt {
    let permit = link.probation().now_or_never().expect("the place is free");
    link.open(submission(&["a"]), Vec::new(), permit).unwrap()
}

fn tokens(sequence: u64, stream: u64, indexes: std::ops::Range<u32>) -> Step {
    let token = |index| {
        let id = TokenId(index);
        let token = Token { choice: 0, index, id, text: String::new(), logprob: None };
        (StreamId(stream), token)
    };
    Step { tokens: indexes.map(token).collect(), ..Step::empty(Epoch(EPOCH), sequence) }
}

/// What waits for the request now.
fn waiting(attempt: &mut Attempt) -> usize {
    std::iter::from_fn(|| attempt.next().now_or_never().and_then(Result::ok)).count()
}

fn ended(attempt: &mut Attempt) -> Option<Ended> {
    attempt.next().now_or_never().and_then(Result::err)
}

#[test]
fn frames_of_an_older_epoch_have_no_effect() {
    let link = link();
    let mut attempt = open(&link);
    let stale = Step { epoch: Epoch(EPOCH - 1), ..tokens(1, 1, 0..3) };
    assert_eq!(link.take(stale), Ok(3));
    assert_eq!(waiting(&mut attempt), 0);
    // and they do not count: the next frame is still the first
    assert_eq!(link.take(tokens(1, 1, 0..2)), Ok(2));
    assert_eq!(waiting(&mut attempt), 2);
    let future = Step { epoch: Epoch(EPOCH + 1), ..tokens(2, 1, 2..3) };
    assert_eq!(link.take(future), Err(LinkError::Epoch { expected: 5, got: 6 }));
}

#[test]
fn a_missing_or_repeated_frame_is_an_error() {
    let link = link();
    let _attempt = open(&link);
    link.take(tokens(1, 1, 0..1)).unwrap();
    assert_eq!(link.take(tokens(1, 1, 0..1)), Err(LinkError::Sequence { last: 1, got: 1 }));
    assert_eq!(link.take(tokens(3, 1, 1..2)), Err(LinkError::Sequence { last: 1, got: 3 }));
}

#[test]
fn another_zone_is_refused_at_the_last_moment() {
    let link = link();
    let refused = link.open(submission(&["b", "c"]), Vec::new(), None);
    assert!(matches!(refused.err(), Some(OpenError::Refused(EngineError::Internal))));
    assert_eq!(link.burden(), 0);
}

#[test]
fn requests_are_bounded_and_ids_are_never_used_twice() {
    let link = link();
    let attempts: Vec<_> = (0..4).map(|_| open(&link)).collect();
    let more = link.open(submission(&["a"]), Vec::new(), None);
    assert!(matches!(more.err(), Some(OpenError::Full)));
    drop(attempts);
    assert_eq!(link.burden(), 0);
    let mut next = open(&link);
    // a late frame for one of the others is for nobody
    link.take(tokens(1, 1, 0..1)).unwrap();
    assert_eq!(waiting(&mut next), 0);
    link.take(tokens(2, 5, 0..1)).unwrap();
    assert_eq!(waiting(&mut next), 1);
}

#[test]
fn a_slow_reader_is_paused_alone() {
    let link = link();
    let (mut slow, mut quick) = (open(&link), open(&link));
    link.take(tokens(1, 1, 0..20)).unwrap();
    link.take(tokens(2, 2, 0..3)).unwrap();
    assert_eq!(waiting(&mut quick), 3);
    assert_eq!(ended(&mut quick), None);
    // what was taken comes first
    for _ in 0..8 {
        assert!(matches!(slow.next().now_or_never(), Some(Ok(_))));
    }
    assert_eq!(ended(&mut slow), Some(Ended::Paused));
    assert_eq!(link.burden(), 1);
}

#[test]
fn a_finished_request_makes_room() {
    let link = link();
    let mut attempt = open(&link);
    let finished = Finished { choice: 0, reason: FinishReason::Stop, text: String::new() };
    let mut step = tokens(1, 1, 0..1);
    step.finished.push((StreamId(1), finished));
    step.usage.push((StreamId(1), Usage::default(), Timings::default()));
    assert_eq!(link.take(step), Ok(3));
    assert_eq!(link.burden(), 0);
    assert_eq!(waiting(&mut attempt), 3);
    // the link's end is not the request's any more
    link.close();
    assert_eq!(ended(&mut attempt), Some(Ended::Lost { charged: false }));
}

#[test]
fn a_death_is_charged_to_everyone_unless_someone_is_on_probation() {
    let first = link();
    let mut attempts = [open(&first), open(&first)];
    first.close();
    for attempt in &mut attempts {
        assert_eq!(ended(attempt), Some(Ended::Lost { charged: true }));
    }
    assert!(matches!(
        first.open(submission(&["a"]), Vec::new(), None).err(),
        Some(OpenError::Closed)
    ));
    assert!(first.probation().now_or_never().expect("it does not wait").is_none());

    let second = link();
    let (mut suspect, mut innocent) = (suspect(&second), open(&second));
    assert!(second.probation().now_or_never().is_none(), "the place is taken");
    second.close();
    assert_eq!(ended(&mut suspect), Some(Ended::Lost { charged: true }));
    assert_eq!(ended(&mut innocent), Some(Ended::Lost { charged: false }));
}

#[test]
fn a_suspect_that_gets_on_is_cleared_even_if_nobody_reads_it() {
    let link = link();
    let mut first = suspect(&link);
    link.take(tokens(1, 1, 0..PROBATION_TOKENS - 1)).unwrap();
    assert!(link.probation().now_or_never().is_none());
    link.take(tokens(2, 1, PROBATION_TOKENS - 1..PROBATION_TOKENS)).unwrap();
    let mut second = suspect(&link);
    link.close();
    assert_eq!(waiting(&mut first), PROBATION_TOKENS as usize);
    assert_eq!(ended(&mut first), Some(Ended::Lost { charged: false }));
    assert_eq!(ended(&mut second), Some(Ended::Lost { charged: true }));
}

#[test]
fn a_suspect_that_goes_away_leaves_its_place() {
    let link = link();
    drop(suspect(&link));
    assert!(link.probation().now_or_never().is_some());
}
