#![allow(clippy::unwrap_used, reason = "tests")]

mod embedding;
mod events;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use engine_api::{
    CacheNamespace, CandidateToken, Choices, Constraint, EngineError, Epoch, FinishReason,
    Finished, LogitBias, MaxTokens, MinP, ModelDigest, ModelId, NumericsClass, Penalty, Priority,
    Prompt, RepetitionPenalty, RequestId, Sampling, Seed, Share, StopStrings, StopTokens, Stopping,
    Submission, Temperature, Timings, Token, TokenId, TokenLogprob, TopK, TopLogprobs, TopP,
    TraceContext, Usage, ZoneId,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use embedding::{embed, embedded};
use events::{finished, load, timings, token, usage, welcome};

use crate::bounds::{CREDIT_MAX, RETRY_AFTER_MS_MAX, STEP_EVENTS_MAX, TIME_MS_MAX};
use crate::{Down, Heartbeat, Hello, Loading, Step, StreamId, Submit, Up, Welcome, proto};

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Zäß0-9._:/ -]{1,40}"
}

fn ids(max: usize) -> impl Strategy<Value = Vec<TokenId>> {
    vec(any::<u32>().prop_map(TokenId), 1..max)
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let bias = btree_map(any::<u32>().prop_map(TokenId), -100.0f32..=100.0, 0..20);
    let penalties = (-2.0f32..=2.0, -2.0f32..=2.0, 0.01f32..=100.0);
    let kept = (0.0f32..=1.0, any::<u32>(), 0.0f32..=1.0);
    (0.0f32..=2.0, kept, any::<u64>(), penalties, bias, option::of(0u32..=20)).prop_map(
        |(temperature, (top_p, top_k, min_p), seed, penalties, bias, top)| Sampling {
            temperature: Temperature::new(temperature).unwrap(),
            top_p: TopP::new(top_p).unwrap(),
            top_k: TopK::new(top_k.into()).unwrap(),
            min_p: MinP::new(min_p).unwrap(),
            seed: Seed(seed),
            frequency_penalty: Penalty::new(penalties.0).unwrap(),
            presence_penalty: Penalty::new(penalties.1).unwrap(),
            repetition_penalty: RepetitionPenalty::new(penalties.2).unwrap(),
            logit_bias: LogitBias::new(bias).unwrap(),
            logprobs: top.map(|top| TopLogprobs::new(top).unwrap()),
        },
    )
}

fn stopping() -> impl Strategy<Value = Stopping> {
    let stop_tokens = vec(any::<u32>().prop_map(TokenId), 0..9);
    (64u32.., vec(".{1,20}", 0..4), stop_tokens, any::<bool>(), any::<u32>()).prop_map(
        |(max_tokens, stop, stop_tokens, ignore_eos, min_tokens)| Stopping {
            max_tokens: MaxTokens::new(max_tokens).unwrap(),
            stop: StopStrings::new(stop).unwrap(),
            stop_tokens: StopTokens::new(stop_tokens).unwrap(),
            ignore_eos,
            min_tokens,
        },
    )
}

fn prompt() -> impl Strategy<Value = Prompt> {
    (name(), any::<[u8; 32]>(), ids(50), 1u32.., 1u32..).prop_map(
        |(model, digest, ids, max_tokens, context)| Prompt {
            model: ModelId::new(model),
            model_digest: ModelDigest(digest),
            ids: ids.into(),
            max_tokens,
            context,
            answer: Default::default(),
        },
    )
}

fn trace() -> impl Strategy<Value = TraceContext> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_filter("must not be zero", |(trace, span, _)| *trace != [0; 16] && *span != [0; 8])
        .prop_map(|(trace_id, span_id, flags)| TraceContext { trace_id, span_id, flags })
}

fn submit() -> impl Strategy<Value = Submit> {
    let drawn = vec(vec(any::<u32>().prop_map(TokenId), 0..60), 16);
    let time = || option::of((0..=TIME_MS_MAX).prop_map(Duration::from_millis));
    let order = (any::<i32>().prop_map(Priority), time(), time());
    let share = (any::<u64>(), 1u32..);
    let rest = (any::<[u8; 16]>(), share, order, vec(name(), 1..5), option::of(trace()));
    let form = (option::of(".{1,60}"), vec(any::<u32>().prop_map(TokenId), 0..65));
    let parts = (prompt(), sampling(), stopping(), form);
    (any::<u64>(), name(), parts, 1u32..=16, rest, option::of(drawn)).prop_map(
        |(stream, id, (prompt, sampling, stopping, form), choices, rest, drawn)| {
            let (namespace, (key, weight), (priority, deadline, hold), zones, trace) = rest;
            let resume = drawn.map(|mut drawn| {
                drawn.truncate(choices as usize);
                drawn
            });
            let submission = Submission {
                id: RequestId::new(id),
                prompt,
                choices: Choices::new(choices).unwrap(),
                sampling,
                stopping,
                constraint: form.0.map(|grammar| Constraint::new(grammar).unwrap()),
                markers: form.1,
                namespace: CacheNamespace(namespace),
                share: Share { key, weight: NonZeroU32::new(weight).unwrap() },
                priority,
                deadline,
                hold,
                zones: zones.into_iter().map(ZoneId::new).collect(),
                trace,
            };
            Submit { stream: StreamId(stream), submission, resume: resume.unwrap_or_default() }
        },
    )
}

fn down() -> impl Strategy<Value = Down> {
    prop_oneof![
        (any::<u32>(), 1..=CREDIT_MAX)
            .prop_map(|(protocol, credit)| Down::Hello(Hello { protocol, credit })),
        submit().prop_map(|submit| Down::Submit(Box::new(submit))),
        embed().prop_map(|embed| Down::Embed(Box::new(embed))),
        any::<u64>().prop_map(|stream| Down::Cancel(StreamId(stream))),
        Just(Down::Drain),
        (1..=CREDIT_MAX).prop_map(Down::Credit),
    ]
}

fn failure() -> impl Strategy<Value = EngineError> {
    let wait = || (0..=RETRY_AFTER_MS_MAX).prop_map(Duration::from_millis);
    let param = || prop::sample::select(super::failure::NAMES.to_vec());
    prop_oneof![
        name().prop_map(|model| EngineError::UnknownModel(ModelId::new(model))),
        (any::<u64>(), 1u32..).prop_map(|(prompt_tokens, context)| EngineError::PromptTooLong {
            prompt_tokens,
            context
        }),
        (param(), ".{0,40}").prop_map(|(param, message)| EngineError::Invalid { param, message }),
        wait().prop_map(|retry_after| EngineError::Overloaded { retry_after }),
        wait().prop_map(|retry_after| EngineError::DeadlineExceeded { retry_after }),
        (name(), wait()).prop_map(|(model, retry_after)| EngineError::Unavailable {
            model: ModelId::new(model),
            retry_after
        }),
        Just(EngineError::Quarantined),
        Just(EngineError::Draining),
        param().prop_map(EngineError::Unsupported),
        Just(EngineError::Internal),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || any::<u64>().prop_map(StreamId);
    let events = (
        vec((stream(), any::<u32>()), 0..4),
        vec((stream(), token()), 0..6),
        vec((stream(), finished()), 0..4),
        vec((stream(), embedded()), 0..4),
        vec((stream(), usage(), timings()), 0..4),
        vec((stream(), failure()), 0..4),
    );
    (any::<u64>(), any::<u64>(), events).prop_map(
        |(epoch, sequence, (started, tokens, finished, embedded, usage, failed))| Step {
            epoch: Epoch(epoch),
            sequence,
            started,
            tokens,
            finished,
            embedded,
            usage,
            failed,
        },
    )
}

fn up() -> impl Strategy<Value = Up> {
    prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(left, right)| Up::Loading(Loading {
            done: left.min(right).into(),
            total: left.max(right).into()
        })),
        welcome().prop_map(Up::Welcome),
        ".{0,60}".prop_map(Up::Refused),
        step().prop_map(Up::Step),
        load().prop_map(Up::Load),
        (any::<u64>(), any::<bool>())
            .prop_map(|(steps, busy)| Up::Heartbeat(Heartbeat { steps, busy })),
    ]
}

proptest! {
    #[test]
    fn what_goes_down_arrives(down in down()) {
        let bytes = proto::Down::from(down.clone()).encode_to_vec();
        let read = Down::try_from(proto::Down::decode(bytes.as_slice()).unwrap());
        prop_assert_eq!(read, Ok(down));
    }

    #[test]
    fn what_goes_up_arrives(up in up()) {
        let bytes = proto::Up::from(up.clone()).encode_to_vec();
        let read = Up::try_from(proto::Up::decode(bytes.as_slice()).unwrap());
        prop_assert_eq!(read, Ok(up));
    }

    /// Whatever the bytes: a frame or an error, never a panic.
    #[test]
    fn noise_is_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = proto::Down::decode(bytes.as_slice()).map(Down::try_from);
        let _ = proto::Up::decode(bytes.as_slice()).map(Up::try_from);
    }

    /// Frames that are almost right reach further into the checks than noise does.
    #[test]
    fn damaged_frames_are_read_or_refused(
        down in down(), up in up(), place in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        for mut bytes in [
            proto::Down::from(down).encode_to_vec(), proto::Up::from(up).encode_to_vec(),
        ] {
            if bytes.is_empty() {
                continue;
            }
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = proto::Down::decode(bytes.as_slice()).map(Down::try_from);
            let _ = proto::Up::decode(bytes.as_slice()).map(Up::try_from);
        }
    }
}

fn good() -> proto::Submit {
    let prompt = proto::Prompt {
        model: "m".into(),
        model_digest: vec![1; 32],
        ids: vec![1, 2],
        max_tokens: 8,
        context: 100,
    };
    let sampling = proto::Sampling { top_p: 1.0, repetition_penalty: 1.0, ..Default::default() };
    let stopping = proto::Stopping { max_tokens: 8, ..Default::default() };
    proto::Submit {
        stream: 1,
        request_id: "r".into(),
        prompt: Some(prompt),
        choices: 1,
        sampling: Some(sampling),
        stopping: Some(stopping),
        namespace: vec![0; 16],
        share_key: 0,
        share_weight: 1,
        priority: 0,
        deadline_ms: None,
        hold_ms: None,
        zones: vec!["z".into()],
        trace: None,
        resume: Vec::new(),
        constraint: None,
        markers: Vec::new(),
    }
}

/// The error of a request that is right but for one field.
fn refusal(change: impl FnOnce(&mut proto::Submit)) -> String {
    let mut submit = good();
    change(&mut submit);
    match Submit::try_from(submit) {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_a_request_reads_and_draws_is_checked() {
    assert_eq!(refusal(|_| {}), "accepted");
    for (got, expected) in [
        (
            refusal(|submit| submit.request_id.clear()),
            "field `submit.request_id` must be 1 to 256 bytes without control characters",
        ),
        (
            refusal(|submit| submit.request_id = "a\nb".into()),
            "field `submit.request_id` must be 1 to 256 bytes without control characters",
        ),
        (refusal(|submit| submit.prompt = None), "field `submit.prompt` is missing"),
        (
            refusal(|submit| submit.prompt.as_mut().unwrap().ids.clear()),
            "field `prompt.ids` is empty",
        ),
        (
            refusal(|submit| submit.prompt.as_mut().unwrap().ids = vec![0; (1 << 20) + 1]),
            "field `prompt.ids` has 1048577 entries or bytes, at most 1048576",
        ),
        (
            refusal(|submit| submit.prompt.as_mut().unwrap().model_digest = vec![0; 31]),
            "field `prompt.model_digest` must have 32 bytes, got 31",
        ),
        (
            refusal(|submit| submit.prompt.as_mut().unwrap().max_tokens = 0),
            "field `prompt.max_tokens` must be at least 1",
        ),
        (
            refusal(|submit| submit.choices = 17),
            "field `submit.choices` must be between 1 and 16, got 17",
        ),
        (
            refusal(|submit| submit.sampling.as_mut().unwrap().temperature = f32::NAN),
            "field `sampling.temperature` must be between 0 and 2, got NaN",
        ),
        (
            refusal(|submit| submit.sampling.as_mut().unwrap().top_logprobs = Some(21)),
            "field `sampling.top_logprobs` must be between 0 and 20, got 21",
        ),
        (
            refusal(|submit| submit.sampling.as_mut().unwrap().bias_ids = vec![1]),
            "field `sampling.bias_values` must have one entry for each id",
        ),
        (
            refusal(|submit| {
                let sampling = submit.sampling.as_mut().unwrap();
                (sampling.bias_ids, sampling.bias_values) = (vec![2, 2], vec![1.0, 1.0]);
            }),
            "field `sampling.bias_ids` must ascend",
        ),
        (
            refusal(|submit| submit.sampling.as_mut().unwrap().min_p = 1.5),
            "field `sampling.min_p` must be between 0 and 1, got 1.5",
        ),
        (
            refusal(|submit| submit.sampling.as_mut().unwrap().repetition_penalty = 0.0),
            "field `sampling.repetition_penalty` must be between 0.01 and 100, got 0",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn what_an_answer_has_to_be_is_checked() {
    let long = || Some("a".repeat(Constraint::BYTES_MAX + 1));
    for (got, expected) in [
        (refusal(|submit| submit.constraint = Some("start: \"a\"".into())), "accepted"),
        (
            refusal(|submit| submit.constraint = Some(String::new())),
            "field `submit.constraint` must be 1 to 524288 bytes of grammar, got 0 bytes",
        ),
        (
            refusal(|submit| submit.constraint = long()),
            "field `submit.constraint` must be 1 to 524288 bytes of grammar, got 524289 bytes",
        ),
        (refusal(|submit| submit.markers = vec![7; 64]), "accepted"),
        (
            refusal(|submit| submit.markers = vec![7; 65]),
            "field `submit.markers` has 65 entries or bytes, at most 64",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn where_a_request_ends_and_may_run_is_checked() {
    let many = |count: usize| vec![proto::Drawn { ids: vec![1; count] }];
    for (got, expected) in [
        (
            refusal(|submit| submit.stopping.as_mut().unwrap().max_tokens = 0),
            "field `stopping.max_tokens` must be at least 1, got 0",
        ),
        (
            refusal(|submit| submit.stopping.as_mut().unwrap().stop = vec![String::new()]),
            "field `stopping.stop` must be strings of 1 to 1024 bytes, got a string of 0 bytes",
        ),
        (
            refusal(|submit| submit.stopping.as_mut().unwrap().stop_tokens = vec![3, 3]),
            "field `stopping.stop_tokens` must ascend",
        ),
        (
            refusal(|submit| submit.stopping.as_mut().unwrap().stop_tokens = (0..129).collect()),
            "field `stopping.stop_tokens` has 129 entries or bytes, at most 128",
        ),
        (
            refusal(|submit| submit.deadline_ms = Some(u64::MAX)),
            "field `submit.deadline_ms` must be at most 86400000",
        ),
        (
            refusal(|submit| submit.share_weight = 0),
            "field `submit.share_weight` must be at least 1",
        ),
        (refusal(|submit| submit.zones.clear()), "field `submit.zones` is empty"),
        (
            refusal(|submit| submit.namespace = vec![0; 17]),
            "field `submit.namespace` must have 16 bytes, got 17",
        ),
        (
            refusal(|submit| {
                let (trace_id, span_id) = (vec![0; 16], vec![1; 8]);
                submit.trace = Some(proto::Trace { trace_id, span_id, flags: 0 });
            }),
            "field `trace` must not be zero",
        ),
        (
            refusal(|submit| submit.resume = vec![proto::Drawn::default(); 2]),
            "field `submit.resume` must have no entry or one for each choice",
        ),
        (
            refusal(|submit| submit.resume = many(9)),
            "field `submit.resume` has 9 entries or bytes, at most 8",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn frames_from_a_worker_are_bounded() {
    let refused = |frame| Up::try_from(proto::Up { frame: Some(frame) }).unwrap_err().field;
    let usage = vec![proto::Usage::default(); STEP_EVENTS_MAX + 1];
    let step = proto::Step { usage, ..Default::default() };
    assert_eq!(refused(proto::up::Frame::Step(step)), "step");
    let finished = vec![proto::Finished { reason: 9, ..Default::default() }];
    let step = proto::Step { finished, ..Default::default() };
    assert_eq!(refused(proto::up::Frame::Step(step)), "finished.reason");
    let error = proto::failed::Error::Invalid(proto::Invalid {
        param: "../etc".into(),
        message: String::new(),
    });
    let failed = vec![proto::Failed { stream: 1, error: Some(error) }];
    let step = proto::Step { failed, ..Default::default() };
    assert_eq!(refused(proto::up::Frame::Step(step)), "failed.invalid.param");
    for (load, field) in [
        (proto::Load { blocks_used: 2, ..Default::default() }, "load.blocks_used"),
        (proto::Load { blocks_cached: 2, ..Default::default() }, "load.blocks_cached"),
        (proto::Load { blocks_pinned: 2, ..Default::default() }, "load.blocks_pinned"),
        (proto::Load::default(), "load.counters"),
    ] {
        let load = proto::Load { blocks_total: 1, ..load };
        assert_eq!(refused(proto::up::Frame::Load(load)), field);
    }
    let usage = proto::Step { usage: vec![proto::Usage::default()], ..Default::default() };
    let welcome = |kind, blocks| proto::Welcome {
        model_digest: vec![0; 32],
        numerics: "n".into(),
        context: 1,
        vocabulary: 1,
        blocks,
        block_tokens: blocks,
        kind,
        ..Default::default()
    };
    let refusal = |kind, blocks| refused(proto::up::Frame::Welcome(welcome(kind, blocks)));
    assert_eq!([refusal(0, 1), refusal(3, 1)], ["welcome.kind"; 2]);
    assert_eq!([refusal(1, 0), refusal(2, 1)], ["welcome.blocks"; 2]);
    assert_eq!(refused(proto::up::Frame::Step(usage)), "usage.timings");
    assert_eq!(Up::try_from(proto::Up { frame: None }).unwrap_err().field, "up.frame");
    assert_eq!(Down::try_from(proto::Down { frame: None }).unwrap_err().field, "down.frame");
}

#[test]
fn messages_are_cut_to_what_a_frame_may_hold() {
    let long = "ä".repeat(4000);
    let up = Up::try_from(proto::Up::from(Up::Refused(long.clone()))).unwrap();
    assert_eq!(up, Up::Refused("ä".repeat(2048)));
    let error = EngineError::Invalid { param: "prompt", message: long };
    let step = Step { failed: vec![(StreamId(1), error)], ..Step::empty(Epoch(1), 1) };
    assert!(Up::try_from(proto::Up::from(Up::Step(step))).is_ok());
}

/// Keeps the map type in the signature of `LogitBias::new` honest about its order.
#[test]
fn biases_keep_their_ids() {
    let entries = BTreeMap::from([(TokenId(9), 1.5), (TokenId(3), -2.5)]);
    let sampling = Sampling { logit_bias: LogitBias::new(entries).unwrap(), ..Default::default() };
    let sent = proto::Sampling::from(sampling);
    assert_eq!((sent.bias_ids, sent.bias_values), (vec![3, 9], vec![-2.5, 1.5]));
}
