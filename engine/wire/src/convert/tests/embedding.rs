//! Requests for vectors, and vectors.

use std::sync::Arc;

use super::*;
use crate::bounds::{DIMENSIONS_MAX, INPUTS_MAX, STEP_NUMBERS_MAX};
use crate::{Embed, Embedded};

pub(super) fn embed() -> impl Strategy<Value = Embed> {
    let input = vec(any::<u32>().prop_map(TokenId), 1..9).prop_map(Arc::from);
    let inputs = btree_map(0..INPUTS_MAX as u32, input, 1..5);
    let time = option::of((0..=TIME_MS_MAX).prop_map(Duration::from_millis));
    let what = (name(), any::<[u8; 32]>(), inputs, 1..=DIMENSIONS_MAX as u32);
    let rest = ((any::<u64>(), 1u32..), time, vec(name(), 1..5), option::of(trace()));
    (any::<u64>(), name(), what, rest).prop_map(|(stream, id, what, rest)| {
        let (model, digest, inputs, dimensions) = what;
        let ((key, weight), deadline, zones, trace) = rest;
        Embed {
            stream: StreamId(stream),
            id: RequestId::new(id),
            model: ModelId::new(model),
            model_digest: ModelDigest(digest),
            inputs: inputs.into_iter().collect(),
            dimensions,
            share: Share { key, weight: NonZeroU32::new(weight).unwrap() },
            deadline,
            zones: zones.into_iter().map(ZoneId::new).collect(),
            trace,
        }
    })
}

pub(super) fn embedded() -> impl Strategy<Value = Embedded> {
    (any::<u32>(), vec(-1.0f32..=1.0, 1..9)).prop_map(|(input, values)| Embedded { input, values })
}

/// The error of a request that is right but for one field.
fn refusal(change: impl FnOnce(&mut proto::Embed)) -> String {
    let input = |index| proto::Input { index, ids: vec![1, 2] };
    let mut embed = proto::Embed {
        stream: 1,
        request_id: "r".into(),
        model: "m".into(),
        model_digest: vec![1; 32],
        inputs: vec![input(0), input(3)],
        dimensions: 8,
        share_weight: 1,
        zones: vec!["z".into()],
        ..Default::default()
    };
    change(&mut embed);
    match Embed::try_from(embed) {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_field_is_checked() {
    assert_eq!(refusal(|_| {}), "accepted");
    for (got, expected) in [
        (
            refusal(|embed| embed.request_id.clear()),
            "field `embed.request_id` must be 1 to 256 bytes without control characters",
        ),
        (
            refusal(|embed| embed.model.clear()),
            "field `embed.model` must be 1 to 256 bytes without control characters",
        ),
        (
            refusal(|embed| embed.model_digest = vec![0; 31]),
            "field `embed.model_digest` must have 32 bytes, got 31",
        ),
        (refusal(|embed| embed.inputs.clear()), "field `embed.inputs` is empty"),
        (refusal(|embed| embed.inputs[1].ids.clear()), "field `input.ids` is empty"),
        (
            refusal(|embed| embed.inputs[1].ids = vec![0; 1 << 20]),
            "field `input.ids` has 1048578 entries or bytes, at most 1048576",
        ),
        (
            refusal(|embed| embed.inputs[1].index = 0),
            "field `input.index` must ascend and be below 2048",
        ),
        (
            refusal(|embed| embed.inputs[1].index = 2048),
            "field `input.index` must ascend and be below 2048",
        ),
        (
            refusal(|embed| embed.inputs = vec![proto::Input::default(); 2049]),
            "field `embed.inputs` has 2049 entries or bytes, at most 2048",
        ),
        (
            refusal(|embed| embed.dimensions = 8193),
            "field `embed.dimensions` has 8193 entries or bytes, at most 8192",
        ),
        (refusal(|embed| embed.dimensions = 0), "field `embed.dimensions` must be at least 1"),
        (refusal(|embed| embed.share_weight = 0), "field `embed.share_weight` must be at least 1"),
        (refusal(|embed| embed.zones.clear()), "field `embed.zones` is empty"),
        (
            refusal(|embed| embed.deadline_ms = Some(u64::MAX)),
            "field `embed.deadline_ms` must be at most 86400000",
        ),
        (
            refusal(|embed| embed.trace = Some(proto::Trace::default())),
            "field `trace.trace_id` must have 16 bytes, got 0",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn vectors_are_finite_and_bounded() {
    let refused = |values: Vec<f32>, count: usize| {
        let embedded = vec![proto::Embedded { values, ..Default::default() }; count];
        let step = proto::Step { embedded, ..Default::default() };
        let up = proto::Up { frame: Some(proto::up::Frame::Step(step)) };
        Up::try_from(up).err().map(|error| error.field)
    };
    assert_eq!(refused(vec![0.5], 1), None);
    for values in [vec![], vec![f32::NAN], vec![1.0, f32::INFINITY], vec![0.5; DIMENSIONS_MAX + 1]]
    {
        assert_eq!(refused(values, 1), Some("embedded.values"));
    }
    let most = STEP_NUMBERS_MAX / DIMENSIONS_MAX;
    assert_eq!(refused(vec![0.5; DIMENSIONS_MAX], most), None);
    assert_eq!(refused(vec![0.5; DIMENSIONS_MAX], most + 1), Some("step.embedded"));
}
