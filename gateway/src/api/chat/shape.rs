//! The JSON shapes of OpenAI's chat completions, written and never read.
//!
//! Clients validate strictly what they get: a field that is here is one that some client
//! breaks without.

use engine_api::{FinishReason, OutputEvent, ToolCall, Usage};
use serde::Serialize;

use crate::api::rendering::Rendering;

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

impl UsageShape {
    /// Of an answer with so many tokens of reasoning.
    pub fn of(usage: Usage, reasoning_tokens: u32) -> Self {
        let completion_tokens_details = CompletionDetails { reasoning_tokens };
        Self { completion_tokens_details, ..usage.into() }
    }
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

/// A call, whole or a part of one.
#[derive(Serialize)]
pub struct CallShape<'a> {
    /// Only in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Only where the call begins, as the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub function: FunctionShape<'a>,
}

/// What is called.
#[derive(Serialize)]
pub struct FunctionShape<'a> {
    /// Only where the call begins: clients put the parts of it together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// JSON text, or a part of it.
    pub arguments: &'a str,
}

impl<'a> From<&'a ToolCall> for FunctionShape<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self { name: Some(&call.function.name), arguments: &call.function.arguments }
    }
}

impl<'a> From<&'a ToolCall> for CallShape<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self { index: None, id: Some(&call.id), kind: Some("function"), function: call.into() }
    }
}

/// What a choice was, for its `finish_reason`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Called {
    /// Calls that are whole.
    pub whole: usize,
    /// A call was cut off.
    pub is_cut: bool,
}

impl Called {
    /// Takes what is known of a choice.
    pub fn observe(&mut self, output: &OutputEvent) {
        match output {
            OutputEvent::CallFinished { .. } => self.whole += 1,
            OutputEvent::CallAbandoned { .. } => self.is_cut = true,
            _ => {}
        }
    }
}

/// `finish_reason`.
pub fn finish_reason(reason: FinishReason, called: Called, rendering: Rendering) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::Stop if called.whole == 0 || called.is_cut => "stop",
        FinishReason::Stop if rendering.named_call => "stop",
        FinishReason::Stop if rendering.legacy_calls => "function_call",
        FinishReason::Stop => "tool_calls",
    }
}
