//! Frames from the fleet.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use engine_api::{
    CacheNamespace, Choices, Constraint, LogitBias, MaxTokens, MinP, ModelId, Penalty, Priority,
    Prompt, RepetitionPenalty, RequestId, Sampling, Seed, Share, StopStrings, StopTokens, Stopping,
    Submission, Temperature, TokenId, TopK, TopLogprobs, TopP, TraceContext, ZoneId,
};

use super::{array, at_most, byte, digest, judged, name, numbers, positive, present, token_ids};
use crate::bounds::{CREDIT_MAX, PROMPT_TOKENS_MAX, RESUME_TOKENS_MAX, TIME_MS_MAX, ZONES_MAX};
use crate::proto::{self, down::Frame};
use crate::{Down, FrameError, Hello, StreamId, Submit};

impl From<Down> for proto::Down {
    fn from(down: Down) -> Self {
        let frame = match down {
            Down::Hello(Hello { protocol, credit }) => {
                Frame::Hello(proto::Hello { protocol, credit })
            }
            Down::Submit(submit) => Frame::Submit((*submit).into()),
            Down::Embed(embed) => Frame::Embed((*embed).into()),
            Down::Cancel(stream) => Frame::Cancel(proto::Cancel { stream: stream.0 }),
            Down::Drain => Frame::Drain(proto::Drain {}),
            Down::Credit(events) => Frame::Credit(proto::Credit { events }),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<proto::Down> for Down {
    type Error = FrameError;

    fn try_from(down: proto::Down) -> Result<Self, FrameError> {
        Ok(match present(down.frame, "down.frame")? {
            Frame::Hello(proto::Hello { protocol, credit }) => {
                let credit = credit_of(credit, "hello.credit")?;
                Self::Hello(Hello { protocol, credit })
            }
            Frame::Submit(submit) => Self::Submit(Box::new(submit.try_into()?)),
            Frame::Embed(embed) => Self::Embed(Box::new(embed.try_into()?)),
            Frame::Cancel(proto::Cancel { stream }) => Self::Cancel(StreamId(stream)),
            Frame::Drain(proto::Drain {}) => Self::Drain,
            Frame::Credit(proto::Credit { events }) => {
                Self::Credit(credit_of(events, "credit.events")?)
            }
        })
    }
}

fn credit_of(events: u32, field: &'static str) -> Result<u32, FrameError> {
    at_most(events as usize, CREDIT_MAX as usize, field)?;
    positive(events, field)
}

impl From<Submit> for proto::Submit {
    fn from(Submit { stream, submission, resume }: Submit) -> Self {
        Self {
            stream: stream.0,
            request_id: submission.id.as_str().into(),
            prompt: Some(submission.prompt.into()),
            choices: submission.choices.get().into(),
            sampling: Some(submission.sampling.into()),
            stopping: Some(submission.stopping.into()),
            namespace: submission.namespace.0.to_vec(),
            share_key: submission.share.key,
            share_weight: submission.share.weight.get(),
            priority: submission.priority.0,
            deadline_ms: submission.deadline.map(millis),
            hold_ms: submission.hold.map(millis),
            zones: submission.zones.iter().map(|zone| zone.as_str().into()).collect(),
            trace: submission.trace.map(Into::into),
            resume: resume.iter().map(|ids| proto::Drawn { ids: numbers(ids) }).collect(),
            constraint: submission.constraint.map(|constraint| constraint.as_str().into()),
            markers: numbers(&submission.markers),
        }
    }
}

impl TryFrom<proto::Submit> for Submit {
    type Error = FrameError;

    fn try_from(submit: proto::Submit) -> Result<Self, FrameError> {
        let choices = judged(Choices::new(submit.choices), "submit.choices")?;
        let weight = NonZeroU32::new(submit.share_weight)
            .ok_or_else(|| FrameError::new("submit.share_weight", "must be at least 1"))?;
        let stopping: Stopping = present(submit.stopping, "submit.stopping")?.try_into()?;
        let resume = resume_of(submit.resume, choices, stopping.max_tokens)?;
        let submission = Submission {
            id: RequestId::new(name(submit.request_id, "submit.request_id")?),
            prompt: present(submit.prompt, "submit.prompt")?.try_into()?,
            choices,
            sampling: present(submit.sampling, "submit.sampling")?.try_into()?,
            stopping,
            constraint: submit
                .constraint
                .map(|grammar| judged(Constraint::new(grammar), "submit.constraint"))
                .transpose()?,
            markers: markers_of(submit.markers)?,
            namespace: CacheNamespace(array(&submit.namespace, "submit.namespace")?),
            share: Share { key: submit.share_key, weight },
            priority: Priority(submit.priority),
            deadline: time(submit.deadline_ms, "submit.deadline_ms")?,
            hold: time(submit.hold_ms, "submit.hold_ms")?,
            zones: zones_of(submit.zones, "submit.zones")?,
            trace: submit.trace.map(TryInto::try_into).transpose()?,
        };
        Ok(Self { stream: StreamId(submit.stream), submission, resume })
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).map_or(TIME_MS_MAX, |ms| ms.min(TIME_MS_MAX))
}

pub(super) fn time(ms: Option<u64>, field: &'static str) -> Result<Option<Duration>, FrameError> {
    if ms > Some(TIME_MS_MAX) {
        return Err(FrameError::new(field, format!("must be at most {TIME_MS_MAX}")));
    }
    Ok(ms.map(Duration::from_millis))
}

pub(super) fn zones_of(zones: Vec<String>, field: &'static str) -> Result<Vec<ZoneId>, FrameError> {
    at_most(zones.len(), ZONES_MAX, field)?;
    if zones.is_empty() {
        return Err(FrameError::new(field, "is empty"));
    }
    zones.into_iter().map(|zone| name(zone, field).map(ZoneId::new)).collect()
}

fn markers_of(ids: Vec<u32>) -> Result<Vec<TokenId>, FrameError> {
    at_most(ids.len(), Submission::MARKERS_MAX, "submit.markers")?;
    Ok(token_ids(ids).collect())
}

fn resume_of(
    resume: Vec<proto::Drawn>,
    choices: Choices,
    max_tokens: MaxTokens,
) -> Result<Vec<Vec<TokenId>>, FrameError> {
    const FIELD: &str = "submit.resume";
    if !resume.is_empty() && resume.len() != usize::from(choices.get()) {
        return Err(FrameError::new(FIELD, "must have no entry or one for each choice"));
    }
    at_most(resume.iter().map(|drawn| drawn.ids.len()).sum(), RESUME_TOKENS_MAX, FIELD)?;
    for drawn in &resume {
        at_most(drawn.ids.len(), max_tokens.get() as usize, FIELD)?;
    }
    Ok(resume.into_iter().map(|drawn| token_ids(drawn.ids).collect()).collect())
}

impl From<Prompt> for proto::Prompt {
    fn from(prompt: Prompt) -> Self {
        Self {
            model: prompt.model.as_str().into(),
            model_digest: prompt.model_digest.0.to_vec(),
            ids: numbers(&prompt.ids),
            max_tokens: prompt.max_tokens,
            context: prompt.context,
        }
    }
}

impl TryFrom<proto::Prompt> for Prompt {
    type Error = FrameError;

    fn try_from(prompt: proto::Prompt) -> Result<Self, FrameError> {
        at_most(prompt.ids.len(), PROMPT_TOKENS_MAX, "prompt.ids")?;
        if prompt.ids.is_empty() {
            return Err(FrameError::new("prompt.ids", "is empty"));
        }
        Ok(Self {
            model: ModelId::new(name(prompt.model, "prompt.model")?),
            model_digest: digest(&prompt.model_digest, "prompt.model_digest")?,
            ids: token_ids(prompt.ids).collect(),
            max_tokens: positive(prompt.max_tokens, "prompt.max_tokens")?,
            context: positive(prompt.context, "prompt.context")?,
            // how an answer is read is the fleet's business, and its constraint is beside the prompt
            answer: Default::default(),
        })
    }
}

impl From<Sampling> for proto::Sampling {
    fn from(sampling: Sampling) -> Self {
        let (ids, values) = sampling.logit_bias.iter().map(|(id, bias)| (id.0, bias)).unzip();
        Self {
            temperature: sampling.temperature.get(),
            top_p: sampling.top_p.get(),
            top_k: sampling.top_k.get().map_or(0, NonZeroU32::get),
            min_p: sampling.min_p.get(),
            repetition_penalty: sampling.repetition_penalty.get(),
            seed: sampling.seed.0,
            frequency_penalty: sampling.frequency_penalty.get(),
            presence_penalty: sampling.presence_penalty.get(),
            bias_ids: ids,
            bias_values: values,
            top_logprobs: sampling.logprobs.map(|top| top.get() as u32),
        }
    }
}

impl TryFrom<proto::Sampling> for Sampling {
    type Error = FrameError;

    fn try_from(sampling: proto::Sampling) -> Result<Self, FrameError> {
        let penalty = |value, field| judged(Penalty::new(value), field);
        Ok(Self {
            temperature: judged(Temperature::new(sampling.temperature), "sampling.temperature")?,
            top_p: judged(TopP::new(sampling.top_p), "sampling.top_p")?,
            top_k: judged(TopK::new(sampling.top_k.into()), "sampling.top_k")?,
            min_p: judged(MinP::new(sampling.min_p), "sampling.min_p")?,
            seed: Seed(sampling.seed),
            repetition_penalty: judged(
                RepetitionPenalty::new(sampling.repetition_penalty),
                "sampling.repetition_penalty",
            )?,
            frequency_penalty: penalty(sampling.frequency_penalty, "sampling.frequency_penalty")?,
            presence_penalty: penalty(sampling.presence_penalty, "sampling.presence_penalty")?,
            logit_bias: bias_of(&sampling.bias_ids, &sampling.bias_values)?,
            logprobs: sampling
                .top_logprobs
                .map(|top| judged(TopLogprobs::new(top), "sampling.top_logprobs"))
                .transpose()?,
        })
    }
}

fn bias_of(ids: &[u32], values: &[f32]) -> Result<LogitBias, FrameError> {
    const FIELD: &str = "sampling.bias_ids";
    at_most(ids.len(), LogitBias::ENTRIES_MAX, FIELD)?;
    if ids.len() != values.len() {
        return Err(FrameError::new("sampling.bias_values", "must have one entry for each id"));
    }
    if !ids.is_sorted_by(|left, right| left < right) {
        return Err(FrameError::new(FIELD, "must ascend"));
    }
    let entries: BTreeMap<_, _> =
        ids.iter().zip(values).map(|(id, value)| (TokenId(*id), *value)).collect();
    judged(LogitBias::new(entries), "sampling.bias_values")
}

impl From<Stopping> for proto::Stopping {
    fn from(stopping: Stopping) -> Self {
        Self {
            max_tokens: stopping.max_tokens.get(),
            stop: stopping.stop.as_slice().to_vec(),
            stop_tokens: stopping.stop_tokens.iter().map(|id| id.0).collect(),
            ignore_eos: stopping.ignore_eos,
            min_tokens: stopping.min_tokens,
        }
    }
}

impl TryFrom<proto::Stopping> for Stopping {
    type Error = FrameError;

    fn try_from(stopping: proto::Stopping) -> Result<Self, FrameError> {
        Ok(Self {
            max_tokens: judged(MaxTokens::new(stopping.max_tokens), "stopping.max_tokens")?,
            stop: judged(StopStrings::new(stopping.stop), "stopping.stop")?,
            stop_tokens: stop_tokens_of(stopping.stop_tokens)?,
            ignore_eos: stopping.ignore_eos,
            min_tokens: stopping.min_tokens,
        })
    }
}

fn stop_tokens_of(ids: Vec<u32>) -> Result<StopTokens, FrameError> {
    const FIELD: &str = "stopping.stop_tokens";
    at_most(ids.len(), StopTokens::COUNT_MAX, FIELD)?;
    if !ids.is_sorted_by(|left, right| left < right) {
        return Err(FrameError::new(FIELD, "must ascend"));
    }
    judged(StopTokens::new(token_ids(ids)), FIELD)
}

impl From<TraceContext> for proto::Trace {
    fn from(trace: TraceContext) -> Self {
        Self {
            trace_id: trace.trace_id.to_vec(),
            span_id: trace.span_id.to_vec(),
            flags: trace.flags.into(),
        }
    }
}

impl TryFrom<proto::Trace> for TraceContext {
    type Error = FrameError;

    fn try_from(trace: proto::Trace) -> Result<Self, FrameError> {
        let context = Self {
            trace_id: array(&trace.trace_id, "trace.trace_id")?,
            span_id: array(&trace.span_id, "trace.span_id")?,
            flags: byte(trace.flags, "trace.flags")?,
        };
        if context.trace_id == [0; 16] || context.span_id == [0; 8] {
            return Err(FrameError::new("trace", "must not be zero"));
        }
        Ok(context)
    }
}
