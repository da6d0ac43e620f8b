//! What a request may say to a template beside the conversation: this list and nothing else,
//! so that no field of a request overrides a variable or brings a template of its own.

use serde_json::Value;

/// The arguments of one rendering. What is `None` is undefined in the template.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TemplateArguments {
    /// Texts to answer from, as objects. The template knows them as `documents`.
    pub documents: Vec<Value>,
    /// Whether the model reasons before it answers: `enable_thinking` (Qwen 3) and `thinking`
    /// (DeepSeek V3.1).
    pub thinking: Option<bool>,
    /// How much it reasons: `reasoning_effort` (gpt-oss).
    pub reasoning_effort: Option<ReasoningEffort>,
}

/// How much a model reasons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReasoningEffort {
    /// As little as it can.
    Minimal,
    /// Little.
    Low,
    /// What models do unasked.
    Medium,
    /// Much.
    High,
}

impl ReasoningEffort {
    /// Its name in requests and templates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}
