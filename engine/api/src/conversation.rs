//! A chat, as the client told it.

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's instructions.
    System,
    /// The newer name of `system` in OpenAI's API; templates see it as `system`.
    Developer,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One turn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Text parts are joined; `None` where the client sent null or nothing.
    pub content: Option<String>,
    /// What the assistant reasoned before it answered, where the client sent it back.
    pub reasoning: Option<String>,
    /// The client's name for the speaker.
    pub name: Option<String>,
    /// Calls that the assistant made in this turn.
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool message answers.
    pub tool_call_id: Option<String>,
}

/// A call that the assistant made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that the answer refers to.
    pub id: String,
    /// What is called.
    pub function: FunctionCall,
}

/// A function's name with its arguments.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// JSON text, as OpenAI's API has it.
    pub arguments: String,
}

/// Everything that a chat template renders.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns, oldest first.
    pub messages: Vec<Message>,
    /// Tool definitions as the client sent them.
    pub tools: Vec<serde_json::Value>,
}
