//! The JSON shapes of Anthropic's messages, written and never read.

use serde::Serialize;
use serde_json::Value;

/// The message.
#[derive(Serialize)]
pub struct MessageShape<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub role: &'static str,
    pub model: &'a str,
    pub content: Vec<BlockShape<'a>>,
    pub stop_reason: Option<&'static str>,
    pub stop_sequence: Option<&'a str>,
    pub usage: UsageShape,
}

/// A block of its content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockShape<'a> {
    Text {
        text: &'a str,
    },
    /// The signature is for a server that reads the thinking again; none does here.
    Thinking {
        thinking: &'a str,
        signature: &'static str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Value,
    },
}

/// What a message took, in tokens. Those of the cache are not among `input_tokens`.
#[derive(Serialize, Clone, Copy, Debug)]
pub struct UsageShape {
    pub input_tokens: u32,
    pub cache_creation_input_tokens: u32,
    pub cache_read_input_tokens: u32,
    pub output_tokens: u32,
    pub service_tier: &'static str,
}

impl UsageShape {
    /// Counts of a prompt, of which some tokens were cached, and of an answer.
    pub fn new(prompt: u32, cached: u32, output: u32) -> Self {
        Self {
            input_tokens: prompt.saturating_sub(cached),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: cached,
            output_tokens: output,
            service_tier: "standard",
        }
    }
}
