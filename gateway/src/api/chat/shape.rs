//! The JSON shapes of OpenAI's chat completions, written and never read.
//!
//! Clients validate strictly what they get: a field that is here is one that some client
//! breaks without.

use engine_api::{FinishReason, Usage};
use serde::Serialize;

/// Names of one answer, the same in every chunk.
#[derive(Clone, Debug)]
pub struct Head {
    /// `chatcmpl-` and the request's id.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// The model as the client named it.
    pub model: String,
    /// Whether the client wants to read its service tier.
    pub service_tier: bool,
}

/// `usage`.
#[derive(Serialize)]
pub struct UsageShape {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u32,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u32,
}

impl From<Usage> for UsageShape {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionDetails { reasoning_tokens: 0 },
        }
    }
}

/// `finish_reason`.
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}
