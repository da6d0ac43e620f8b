#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::proto::down::Frame;

/// A request that is right, named by its stream.
fn submit(stream: u64) -> Submit {
    use std::num::NonZeroU32;

    use engine_api::*;
    let prompt = Prompt {
        model: ModelId::new("m"),
        model_digest: ModelDigest([0; 32]),
        ids: vec![TokenId(1)].into(),
        max_tokens: 1,
        context: 2,
        answer: Default::default(),
    };
    let stopping = Stopping {
        max_tokens: MaxTokens::new(1).unwrap(),
        stop: StopStrings::default(),
        stop_tokens: StopTokens::default(),
        ignore_eos: false,
        min_tokens: 0,
    };
    let submission = Submission {
        id: RequestId::new("r"),
        prompt,
        choices: Choices::ONE,
        sampling: Sampling::default(),
        stopping,
        constraint: None,
        markers: Vec::new(),
        namespace: CacheNamespace([0; 16]),
        share: Share { key: 0, weight: NonZeroU32::MIN },
        priority: Priority::default(),
        deadline: None,
        hold: None,
        zones: vec![ZoneId::new("z")],
        trace: None,
    };
    Submit { stream: StreamId(stream), submission, resume: Vec::new() }
}

/// What is to be sent now, in short.
fn sent(outgoing: &mut Outgoing) -> Vec<String> {
    let short = |frame: proto::Down| match frame.frame.unwrap() {
        Frame::Hello(_) => "hello".to_owned(),
        Frame::Submit(submit) => format!("submit {}", submit.stream),
        Frame::Embed(embed) => format!("embed {}", embed.stream),
        Frame::Cancel(cancel) => format!("cancel {}", cancel.stream),
        Frame::Credit(credit) => format!("credit {}", credit.events),
        Frame::Drain(_) => "drain".to_owned(),
    };
    std::iter::from_fn(|| outgoing.next().now_or_never().flatten()).map(short).collect()
}

#[test]
fn a_request_that_was_not_sent_is_never_sent() {
    let (outbox, mut outgoing) = Outbox::new(1);
    outbox.submit(submit(1)).unwrap();
    outbox.submit(submit(2)).unwrap();
    outbox.cancel(StreamId(1));
    assert_eq!(sent(&mut outgoing), ["hello", "submit 2"]);
    outbox.cancel(StreamId(2));
    assert_eq!(sent(&mut outgoing), ["cancel 2"]);
}

#[test]
fn credits_are_one_frame() {
    let (outbox, mut outgoing) = Outbox::new(1);
    for _ in 0..1000 {
        outbox.credit(3);
    }
    assert_eq!(sent(&mut outgoing), ["hello", "credit 3000"]);
}

#[test]
fn a_closed_outbox_takes_nothing() {
    let (outbox, mut outgoing) = Outbox::new(1);
    outbox.submit(submit(1)).unwrap();
    outbox.close();
    outbox.submit(submit(2)).unwrap();
    assert_eq!(sent(&mut outgoing), ["hello", "submit 1"]);
    drop(outgoing);
    outbox.cancel(StreamId(1));
    assert!(lock(&outbox.queue).frames.is_empty());
}

#[test]
fn a_frame_has_a_largest_size() {
    let (outbox, _outgoing) = Outbox::new(1);
    let mut large = submit(1);
    large.resume = vec![vec![engine_api::TokenId(u32::MAX); 4 << 20]];
    assert_eq!(outbox.submit(large).unwrap_err().field, "submit");
}
