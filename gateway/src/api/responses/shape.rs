//! The JSON shapes of OpenAI's responses, written and never read.
//!
//! Typed SDKs validate what they get: a field that is here is one that some client breaks
//! without.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::logprobs::PositionShape;

/// What a response says of the request that it answers.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct Echo {
    pub instructions: Option<String>,
    pub max_output_tokens: Option<u32>,
    pub max_tool_calls: Option<u32>,
    pub metadata: Map<String, Value>,
    pub parallel_tool_calls: bool,
    pub prompt_cache_key: Option<String>,
    pub reasoning: Value,
    pub safety_identifier: Option<String>,
    pub temperature: f32,
    pub text: Value,
    pub tool_choice: Value,
    pub tools: Vec<Value>,
    pub top_logprobs: usize,
    pub top_p: f32,
    pub user: Option<String>,
}

/// How far a response or an item is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

/// The response.
#[derive(Serialize)]
pub struct ResponseShape<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created_at: i64,
    pub status: Status,
    pub background: bool,
    pub completed_at: Option<i64>,
    pub error: Option<ErrorShape>,
    pub incomplete_details: Option<IncompleteShape>,
    pub model: &'a str,
    pub output: Vec<ItemShape<'a>>,
    pub previous_response_id: Option<&'a str>,
    pub service_tier: &'static str,
    pub store: bool,
    pub truncation: &'static str,
    pub usage: Option<UsageShape>,
    #[serde(flatten)]
    pub echo: &'a Echo,
}

/// Why a response failed. OpenAI has a closed list of codes; the message says more.
#[derive(Serialize)]
pub struct ErrorShape {
    pub code: &'static str,
    pub message: String,
}

/// Why a response ended early.
#[derive(Serialize)]
pub struct IncompleteShape {
    pub reason: &'static str,
}

/// What a response took, in tokens.
#[derive(Serialize)]
pub struct UsageShape {
    pub input_tokens: u32,
    pub input_tokens_details: InputDetails,
    pub output_tokens: u32,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: u64,
}

#[derive(Serialize)]
pub struct InputDetails {
    pub cached_tokens: u32,
    pub cache_write_tokens: u32,
}

#[derive(Serialize)]
pub struct OutputDetails {
    pub reasoning_tokens: u32,
}

/// One thing in the output.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemShape<'a> {
    Message { id: String, role: &'static str, status: Status, content: Vec<PartShape<'a>> },
    FunctionCall { id: String, call_id: &'a str, name: &'a str, arguments: &'a str, status: Status },
    Reasoning { id: String, summary: [(); 0], content: Vec<PartShape<'a>>, status: Status },
}

/// A part of a message's or a reasoning's content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartShape<'a> {
    OutputText { text: &'a str, annotations: [(); 0], logprobs: Vec<PositionShape> },
    ReasoningText { text: &'a str },
}
