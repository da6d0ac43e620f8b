//! Frames from the worker.

use std::time::Duration;

use engine_api::{
    CandidateToken, EngineError, Epoch, FinishReason, Finished, ModelKind, NumericsClass, Timings,
    Token, TokenId, TokenLogprob, Usage,
};

use super::embedding::{embedded_of, kind_of};
use super::{at_most, byte, cut, digest, name, positive, present, text};
use crate::bounds::{
    MESSAGE_BYTES_MAX, STEP_EVENTS_MAX, STEP_NUMBERS_MAX, TEXT_BYTES_MAX, TOKEN_BYTES_MAX,
    TOP_LOGPROBS_MAX,
};
use crate::proto::{self, up::Frame};
use crate::{Counters, FrameError, Heartbeat, Load, Loading, Step, StreamId, Up, Welcome};

impl From<Up> for proto::Up {
    fn from(up: Up) -> Self {
        let frame = match up {
            Up::Loading(Loading { done, total }) => Frame::Loading(proto::Loading { done, total }),
            Up::Welcome(welcome) => Frame::Welcome(welcome.into()),
            Up::Refused(reason) => {
                Frame::Refused(proto::Refused { reason: cut(reason, MESSAGE_BYTES_MAX) })
            }
            Up::Step(step) => Frame::Step(step.into()),
            Up::Load(load) => Frame::Load(load.into()),
            Up::Heartbeat(Heartbeat { steps, busy }) => {
                Frame::Heartbeat(proto::Heartbeat { steps, busy })
            }
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<proto::Up> for Up {
    type Error = FrameError;

    fn try_from(up: proto::Up) -> Result<Self, FrameError> {
        Ok(match present(up.frame, "up.frame")? {
            Frame::Loading(proto::Loading { done, total }) => {
                if done > total {
                    return Err(FrameError::new("loading.done", "is above `total`"));
                }
                Self::Loading(Loading { done, total })
            }
            Frame::Welcome(welcome) => Self::Welcome(welcome.try_into()?),
            Frame::Refused(proto::Refused { reason }) => {
                Self::Refused(text(reason, MESSAGE_BYTES_MAX, "refused.reason")?)
            }
            Frame::Step(step) => Self::Step(step.try_into()?),
            Frame::Load(load) => Self::Load(load.try_into()?),
            Frame::Heartbeat(proto::Heartbeat { steps, busy }) => {
                Self::Heartbeat(Heartbeat { steps, busy })
            }
        })
    }
}

impl From<Welcome> for proto::Welcome {
    fn from(welcome: Welcome) -> Self {
        Self {
            protocol: welcome.protocol,
            epoch: welcome.epoch.0,
            model_digest: welcome.model_digest.0.to_vec(),
            numerics: welcome.numerics.as_str().into(),
            context: welcome.context,
            vocabulary: welcome.vocabulary,
            blocks: welcome.blocks,
            block_tokens: welcome.block_tokens,
            kind: proto::Kind::from(welcome.kind).into(),
        }
    }
}

impl TryFrom<proto::Welcome> for Welcome {
    type Error = FrameError;

    fn try_from(welcome: proto::Welcome) -> Result<Self, FrameError> {
        let kind = kind_of(welcome.kind)?;
        // a worker that embeds has no blocks
        let of_cache = |value, field| match kind {
            ModelKind::Generate => positive(value, field),
            ModelKind::Embed if value == 0 => Ok(0),
            ModelKind::Embed => Err(FrameError::new(field, "must be 0 where texts are embedded")),
        };
        Ok(Self {
            protocol: welcome.protocol,
            epoch: Epoch(welcome.epoch),
            model_digest: digest(&welcome.model_digest, "welcome.model_digest")?,
            numerics: NumericsClass::new(name(welcome.numerics, "welcome.numerics")?),
            context: positive(welcome.context, "welcome.context")?,
            vocabulary: positive(welcome.vocabulary, "welcome.vocabulary")?,
            blocks: of_cache(welcome.blocks, "welcome.blocks")?,
            block_tokens: of_cache(welcome.block_tokens, "welcome.block_tokens")?,
            kind,
        })
    }
}

impl From<Load> for proto::Load {
    fn from(load: Load) -> Self {
        let Load {
            running,
            waiting,
            blocks_used,
            blocks_total,
            blocks_cached,
            blocks_pinned,
            counters,
        } = load;
        let counters = Some(counters.into());
        Self { running, waiting, blocks_used, blocks_total, blocks_cached, blocks_pinned, counters }
    }
}

impl TryFrom<proto::Load> for Load {
    type Error = FrameError;

    fn try_from(load: proto::Load) -> Result<Self, FrameError> {
        let total = load.blocks_total;
        for (blocks, field) in [
            (load.blocks_used, "load.blocks_used"),
            (load.blocks_cached, "load.blocks_cached"),
            (load.blocks_pinned, "load.blocks_pinned"),
        ] {
            if blocks > total {
                return Err(FrameError::new(field, "is above `blocks_total`"));
            }
        }
        Ok(Self {
            running: load.running,
            waiting: load.waiting,
            blocks_used: load.blocks_used,
            blocks_total: total,
            blocks_cached: load.blocks_cached,
            blocks_pinned: load.blocks_pinned,
            counters: present(load.counters, "load.counters")?.into(),
        })
    }
}

impl From<Counters> for proto::Counters {
    fn from(counters: Counters) -> Self {
        let Counters {
            preemptions,
            prompt_tokens,
            generation_tokens,
            prefix_queries,
            prefix_hits,
            drafted,
            accepted,
        } = counters;
        Self {
            preemptions,
            prompt_tokens,
            generation_tokens,
            prefix_queries,
            prefix_hits,
            drafted,
            accepted,
        }
    }
}

impl From<proto::Counters> for Counters {
    fn from(counters: proto::Counters) -> Self {
        let proto::Counters {
            preemptions,
            prompt_tokens,
            generation_tokens,
            prefix_queries,
            prefix_hits,
            drafted,
            accepted,
        } = counters;
        Self {
            preemptions,
            prompt_tokens,
            generation_tokens,
            prefix_queries,
            prefix_hits,
            drafted,
            accepted,
        }
    }
}

impl From<Step> for proto::Step {
    fn from(step: Step) -> Self {
        let failed = |(stream, error): (StreamId, EngineError)| proto::Failed {
            stream: stream.0,
            error: Some(error.into()),
        };
        let started = |(stream, cached_tokens): (StreamId, u32)| proto::Started {
            stream: stream.0,
            cached_tokens,
        };
        Self {
            epoch: step.epoch.0,
            sequence: step.sequence,
            started: step.started.into_iter().map(started).collect(),
            tokens: step.tokens.into_iter().map(Into::into).collect(),
            finished: step.finished.into_iter().map(Into::into).collect(),
            embedded: step.embedded.into_iter().map(Into::into).collect(),
            usage: step.usage.into_iter().map(Into::into).collect(),
            failed: step.failed.into_iter().map(failed).collect(),
        }
    }
}

impl TryFrom<proto::Step> for Step {
    type Error = FrameError;

    fn try_from(step: proto::Step) -> Result<Self, FrameError> {
        let answers = step.tokens.len() + step.finished.len() + step.embedded.len();
        let events = step.started.len() + answers + step.usage.len() + step.failed.len();
        at_most(events, STEP_EVENTS_MAX, "step")?;
        let numbers = step.embedded.iter().map(|embedded| embedded.values.len()).sum();
        at_most(numbers, STEP_NUMBERS_MAX, "step.embedded")?;
        let started = |started: proto::Started| (StreamId(started.stream), started.cached_tokens);
        let failed = |failed: proto::Failed| {
            let error = present(failed.error, "failed.error")?.try_into()?;
            Ok((StreamId(failed.stream), error))
        };
        Ok(Self {
            epoch: Epoch(step.epoch),
            sequence: step.sequence,
            started: step.started.into_iter().map(started).collect(),
            tokens: step.tokens.into_iter().map(token_of).collect::<Result<_, _>>()?,
            finished: step.finished.into_iter().map(finished_of).collect::<Result<_, _>>()?,
            embedded: step.embedded.into_iter().map(embedded_of).collect::<Result<_, _>>()?,
            usage: step.usage.into_iter().map(usage_of).collect::<Result<_, _>>()?,
            failed: step.failed.into_iter().map(failed).collect::<Result<_, FrameError>>()?,
        })
    }
}

impl From<(StreamId, Token)> for proto::Token {
    fn from((stream, token): (StreamId, Token)) -> Self {
        Self {
            stream: stream.0,
            choice: token.choice.into(),
            index: token.index,
            id: token.id.0,
            text: token.text,
            logprob: token.logprob.map(Into::into),
        }
    }
}

fn token_of(token: proto::Token) -> Result<(StreamId, Token), FrameError> {
    let stream = StreamId(token.stream);
    let token = Token {
        choice: byte(token.choice, "token.choice")?,
        index: token.index,
        id: TokenId(token.id),
        text: text(token.text, TEXT_BYTES_MAX, "token.text")?,
        logprob: token.logprob.map(TryInto::try_into).transpose()?,
    };
    Ok((stream, token))
}

impl From<TokenLogprob> for proto::Logprob {
    fn from(logprob: TokenLogprob) -> Self {
        Self {
            drawn: Some(logprob.drawn.into()),
            top: logprob.top.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::Logprob> for TokenLogprob {
    type Error = FrameError;

    fn try_from(logprob: proto::Logprob) -> Result<Self, FrameError> {
        at_most(logprob.top.len(), TOP_LOGPROBS_MAX, "logprob.top")?;
        Ok(Self {
            drawn: present(logprob.drawn, "logprob.drawn")?.try_into()?,
            top: logprob.top.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<CandidateToken> for proto::Candidate {
    fn from(token: CandidateToken) -> Self {
        Self { id: token.id.0, bytes: token.bytes, logprob: token.logprob }
    }
}

impl TryFrom<proto::Candidate> for CandidateToken {
    type Error = FrameError;

    fn try_from(candidate: proto::Candidate) -> Result<Self, FrameError> {
        at_most(candidate.bytes.len(), TOKEN_BYTES_MAX, "candidate.bytes")?;
        // an impossible token has minus infinity; nothing is likelier than certain
        if candidate.logprob.is_nan() || candidate.logprob > 1e-3 {
            return Err(FrameError::new("candidate.logprob", "must be at most 0"));
        }
        let proto::Candidate { id, bytes, logprob } = candidate;
        Ok(Self { id: TokenId(id), bytes, logprob })
    }
}

impl From<(StreamId, Finished)> for proto::Finished {
    fn from((stream, finished): (StreamId, Finished)) -> Self {
        let reason = match finished.reason {
            FinishReason::Stop => proto::Reason::Stop,
            FinishReason::Length => proto::Reason::Length,
        };
        Self {
            stream: stream.0,
            choice: finished.choice.into(),
            reason: reason.into(),
            text: finished.text,
        }
    }
}

fn finished_of(finished: proto::Finished) -> Result<(StreamId, Finished), FrameError> {
    let reason = match proto::Reason::try_from(finished.reason) {
        Ok(proto::Reason::Stop) => FinishReason::Stop,
        Ok(proto::Reason::Length) => FinishReason::Length,
        Ok(proto::Reason::Unspecified) | Err(_) => {
            return Err(FrameError::new("finished.reason", "is none that exists"));
        }
    };
    let stream = StreamId(finished.stream);
    let choice = byte(finished.choice, "finished.choice")?;
    let text = text(finished.text, TEXT_BYTES_MAX, "finished.text")?;
    Ok((stream, Finished { choice, reason, text }))
}

impl From<(StreamId, Usage, Timings)> for proto::Usage {
    fn from((stream, usage, timings): (StreamId, Usage, Timings)) -> Self {
        let Usage { prompt_tokens, completion_tokens, cached_tokens } = usage;
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let Timings { queue, prefill, decode } = timings;
        let timings =
            proto::Timings { queue_us: us(queue), prefill_us: us(prefill), decode_us: us(decode) };
        let (stream, timings) = (stream.0, Some(timings));
        Self { stream, prompt_tokens, completion_tokens, cached_tokens, timings }
    }
}

fn usage_of(usage: proto::Usage) -> Result<(StreamId, Usage, Timings), FrameError> {
    let proto::Usage { stream, prompt_tokens, completion_tokens, cached_tokens, timings } = usage;
    let proto::Timings { queue_us, prefill_us, decode_us } = present(timings, "usage.timings")?;
    let timings = Timings {
        queue: Duration::from_micros(queue_us),
        prefill: Duration::from_micros(prefill_us),
        decode: Duration::from_micros(decode_us),
    };
    let usage = Usage { prompt_tokens, completion_tokens, cached_tokens };
    Ok((StreamId(stream), usage, timings))
}
