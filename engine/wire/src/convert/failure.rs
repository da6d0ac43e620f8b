//! Errors of requests.

use std::time::Duration;

use engine_api::{EngineError, ModelId};

use super::{cut, name, positive, text};
use crate::FrameError;
use crate::bounds::{MESSAGE_BYTES_MAX, RETRY_AFTER_MS_MAX};
use crate::proto::{self, failed::Error};

/// Fields and operations that an error may name. Both ends are built together, so a name
/// outside this list is a frame that none of our workers sent.
pub(super) const NAMES: [&str; 30] = [
    "best_of",
    "completion",
    "deadline",
    "embeddings",
    "frequency_penalty",
    "grammar",
    "ignore_eos",
    "input",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "min_p",
    "min_tokens",
    "model",
    "n",
    "presence_penalty",
    "priority",
    "prompt",
    "repetition_penalty",
    "request",
    "resume",
    "seed",
    "stop",
    "stop_token_ids",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
];

fn known(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|known| **known == name).copied()
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::UnknownModel(model) => Self::UnknownModel(model.as_str().into()),
            EngineError::PromptTooLong { prompt_tokens, context } => {
                Self::PromptTooLong(proto::PromptTooLong { prompt_tokens, context })
            }
            EngineError::Invalid { param, message } if known(param).is_some() => {
                let message = cut(message, MESSAGE_BYTES_MAX);
                Self::Invalid(proto::Invalid { param: param.into(), message })
            }
            EngineError::Overloaded { retry_after } => Self::OverloadedMs(millis(retry_after)),
            EngineError::DeadlineExceeded { retry_after } => {
                Self::DeadlineExceededMs(millis(retry_after))
            }
            EngineError::Unavailable { model, retry_after } => {
                let retry_after_ms = millis(retry_after);
                Self::Unavailable(proto::Unavailable {
                    model: model.as_str().into(),
                    retry_after_ms,
                })
            }
            EngineError::Quarantined => Self::Quarantined(proto::Nothing {}),
            EngineError::Draining => Self::Draining(proto::Nothing {}),
            EngineError::Unsupported(what) if known(what).is_some() => {
                Self::Unsupported(what.into())
            }
            EngineError::Invalid { param: name, .. } | EngineError::Unsupported(name) => {
                // one request fails; a frame that the other end refuses would end them all
                debug_assert!(false, "`{name}` is missing in NAMES");
                Self::Internal(proto::Nothing {})
            }
            EngineError::Internal => Self::Internal(proto::Nothing {}),
        }
    }
}

impl TryFrom<Error> for EngineError {
    type Error = FrameError;

    fn try_from(error: Error) -> Result<Self, FrameError> {
        Ok(match error {
            Error::UnknownModel(model) => Self::UnknownModel(model_of(model)?),
            Error::PromptTooLong(proto::PromptTooLong { prompt_tokens, context }) => {
                let context = positive(context, "failed.prompt_too_long.context")?;
                Self::PromptTooLong { prompt_tokens, context }
            }
            Error::Invalid(proto::Invalid { param, message }) => Self::Invalid {
                param: named(&param, "failed.invalid.param")?,
                message: text(message, MESSAGE_BYTES_MAX, "failed.invalid.message")?,
            },
            Error::OverloadedMs(ms) => {
                Self::Overloaded { retry_after: wait(ms, "failed.overloaded_ms")? }
            }
            Error::DeadlineExceededMs(ms) => {
                Self::DeadlineExceeded { retry_after: wait(ms, "failed.deadline_exceeded_ms")? }
            }
            Error::Unavailable(proto::Unavailable { model, retry_after_ms }) => Self::Unavailable {
                model: model_of(model)?,
                retry_after: wait(retry_after_ms, "failed.unavailable.retry_after_ms")?,
            },
            Error::Quarantined(_) => Self::Quarantined,
            Error::Draining(_) => Self::Draining,
            Error::Unsupported(what) => Self::Unsupported(named(&what, "failed.unsupported")?),
            Error::Internal(_) => Self::Internal,
        })
    }
}

fn model_of(model: String) -> Result<ModelId, FrameError> {
    name(model, "failed.model").map(ModelId::new)
}

fn named(name: &str, field: &'static str) -> Result<&'static str, FrameError> {
    known(name).ok_or_else(|| FrameError::new(field, "is no name that exists"))
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).map_or(RETRY_AFTER_MS_MAX, |ms| ms.min(RETRY_AFTER_MS_MAX))
}

fn wait(ms: u64, field: &'static str) -> Result<Duration, FrameError> {
    if ms > RETRY_AFTER_MS_MAX {
        return Err(FrameError::new(field, format!("must be at most {RETRY_AFTER_MS_MAX}")));
    }
    Ok(Duration::from_millis(ms))
}
