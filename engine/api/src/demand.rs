//! What a client demands of the form of an answer.

use serde_json::Value;

use crate::TemplateArguments;

/// Which tools a request lets the model call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ToolChoice {
    /// Any, or none.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
    /// Some of them.
    Allowed {
        /// At least one of them.
        is_required: bool,
        /// Their names.
        names: Vec<String>,
    },
}

/// What a request wants an answer without calls to be.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum ResponseFormat {
    /// Text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema(Value),
    /// Text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// Text of this grammar: Lark, in llguidance's dialect.
    Grammar(String),
}

/// The form of an answer, as the client demands it. The default demands nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Demand {
    /// Which of the conversation's tools.
    pub choice: ToolChoice,
    /// Whether one answer may hold several calls.
    pub is_parallel: bool,
    /// What the answer is otherwise.
    pub response: ResponseFormat,
    /// What the template reads beside the conversation.
    pub arguments: TemplateArguments,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            choice: ToolChoice::Auto,
            is_parallel: true,
            response: ResponseFormat::Text,
            arguments: TemplateArguments::default(),
        }
    }
}
