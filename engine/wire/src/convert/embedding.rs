//! Requests for vectors, and vectors.

use std::num::NonZeroU32;
use std::sync::Arc;

use engine_api::{ModelId, ModelKind, RequestId, Share, TokenId};

use super::down::{millis, time, zones_of};
use super::{at_most, digest, name, numbers, positive, token_ids};
use crate::bounds::{DIMENSIONS_MAX, INPUT_TOKENS_MAX, INPUTS_MAX};
use crate::{Embed, Embedded, FrameError, StreamId, proto};

impl From<Embed> for proto::Embed {
    fn from(embed: Embed) -> Self {
        let input = |(index, ids): &(u32, Arc<[TokenId]>)| proto::Input {
            index: *index,
            ids: numbers(ids),
        };
        Self {
            stream: embed.stream.0,
            request_id: embed.id.as_str().into(),
            model: embed.model.as_str().into(),
            model_digest: embed.model_digest.0.to_vec(),
            inputs: embed.inputs.iter().map(input).collect(),
            dimensions: embed.dimensions,
            share_key: embed.share.key,
            share_weight: embed.share.weight.get(),
            zones: embed.zones.iter().map(|zone| zone.as_str().into()).collect(),
            trace: embed.trace.map(Into::into),
            deadline_ms: embed.deadline.map(millis),
        }
    }
}

impl TryFrom<proto::Embed> for Embed {
    type Error = FrameError;

    fn try_from(embed: proto::Embed) -> Result<Self, FrameError> {
        let weight = NonZeroU32::new(embed.share_weight)
            .ok_or_else(|| FrameError::new("embed.share_weight", "must be at least 1"))?;
        Ok(Self {
            stream: StreamId(embed.stream),
            id: RequestId::new(name(embed.request_id, "embed.request_id")?),
            model: ModelId::new(name(embed.model, "embed.model")?),
            model_digest: digest(&embed.model_digest, "embed.model_digest")?,
            inputs: inputs_of(embed.inputs)?,
            dimensions: dimensions(embed.dimensions)?,
            share: Share { key: embed.share_key, weight },
            deadline: time(embed.deadline_ms, "embed.deadline_ms")?,
            zones: zones_of(embed.zones, "embed.zones")?,
            trace: embed.trace.map(TryInto::try_into).transpose()?,
        })
    }
}

/// An input's place in the request, and its tokens.
type Input = (u32, Arc<[TokenId]>);

fn inputs_of(inputs: Vec<proto::Input>) -> Result<Vec<Input>, FrameError> {
    at_most(inputs.len(), INPUTS_MAX, "embed.inputs")?;
    if inputs.is_empty() {
        return Err(FrameError::new("embed.inputs", "is empty"));
    }
    let tokens = inputs.iter().map(|input| input.ids.len()).sum();
    at_most(tokens, INPUT_TOKENS_MAX, "input.ids")?;
    if inputs.iter().any(|input| input.ids.is_empty()) {
        return Err(FrameError::new("input.ids", "is empty"));
    }
    let is_sound = |index: &u32| (*index as usize) < INPUTS_MAX;
    let indices = || inputs.iter().map(|input| input.index);
    if !indices().is_sorted_by(|left, right| left < right) || !indices().all(|one| is_sound(&one)) {
        let problem = format!("must ascend and be below {INPUTS_MAX}");
        return Err(FrameError::new("input.index", problem));
    }
    Ok(inputs.into_iter().map(|input| (input.index, token_ids(input.ids).collect())).collect())
}

fn dimensions(count: u32) -> Result<u32, FrameError> {
    at_most(count as usize, DIMENSIONS_MAX, "embed.dimensions")?;
    positive(count, "embed.dimensions")
}

impl From<(StreamId, Embedded)> for proto::Embedded {
    fn from((stream, Embedded { input, values }): (StreamId, Embedded)) -> Self {
        Self { stream: stream.0, input, values }
    }
}

pub(super) fn embedded_of(embedded: proto::Embedded) -> Result<(StreamId, Embedded), FrameError> {
    let proto::Embedded { stream, input, values } = embedded;
    at_most(values.len(), DIMENSIONS_MAX, "embedded.values")?;
    if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
        let problem = "must have numbers, all of them finite";
        return Err(FrameError::new("embedded.values", problem));
    }
    Ok((StreamId(stream), Embedded { input, values }))
}

impl From<ModelKind> for proto::Kind {
    fn from(kind: ModelKind) -> Self {
        match kind {
            ModelKind::Generate => Self::Generate,
            ModelKind::Embed => Self::Embed,
        }
    }
}

pub(super) fn kind_of(kind: i32) -> Result<ModelKind, FrameError> {
    match proto::Kind::try_from(kind) {
        Ok(proto::Kind::Generate) => Ok(ModelKind::Generate),
        Ok(proto::Kind::Embed) => Ok(ModelKind::Embed),
        Ok(proto::Kind::Unspecified) | Err(_) => {
            Err(FrameError::new("welcome.kind", "is none that exists"))
        }
    }
}
