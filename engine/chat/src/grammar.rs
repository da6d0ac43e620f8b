//! What a request demands of the answer, as a grammar.
//!
//! The text is Lark in llguidance's dialect. The worker compiles it and masks every token that
//! does not fit, so that calls and JSON are valid at any temperature. Here is only data in and
//! text out: the same request gives the same text.

mod client_lark;
mod content;
mod harmony;
mod lark;
mod schema;
mod shape;
mod xml;

use std::collections::HashSet;

use engine_api::{CallFormat, Delivery, Demand, ReasoningFormat, ToolCall, ToolChoice};
use serde_json::{Value, json};

pub use client_lark::Refused as GrammarRefused;
pub use content::ResponseError;
pub use schema::SchemaError;

use content::Content;
use lark::Lark;
use schema::{Strictness, prepare};
use shape::Shape;

/// Most calls in one answer.
pub const CALLS_MAX: usize = 32;
/// Longest name of a tool, as OpenAI has it.
const NAME_LETTERS_MAX: usize = 64;

/// What a request demands of an answer, and how its model writes one.
pub struct Assignment<'a> {
    /// Definitions as clients send them, `{"type": "function", "function": {...}}`.
    pub tools: &'a [Value],
    /// Which of them, and what the answer is otherwise.
    pub demand: &'a Demand,
    /// How the model writes calls.
    pub calls: CallFormat,
    /// How it reasons.
    pub reasoning: ReasoningFormat,
    /// The prompt ends inside the reasoning.
    pub begins_in_reasoning: bool,
    /// The id of the control token with this text, if there is one. Text in a grammar never
    /// matches a control token.
    pub control_id: &'a dyn Fn(&str) -> Option<u32>,
}

/// What follows from a demand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The grammar. `None`: anything goes.
    pub grammar: Option<String>,
    /// How the calls will be written, which is our own way where the model's cannot be forced.
    /// `None`: there are none to be read.
    pub calls: Option<CallFormat>,
    /// How the parser delivers them.
    pub delivery: Delivery,
    /// Indices of the tools that may be called.
    pub offered: Vec<usize>,
}

/// What is wrong with a demand. All of it is the client's to mend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GrammarError {
    /// The schema of a tool.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What the answer shall be beside calls.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// A tool without a usable name.
    #[error(
        "`tools[{index}].function.name` has to be 1 to {NAME_LETTERS_MAX} letters, digits, `_`, \
         `-` or `.`"
    )]
    Name {
        /// Which tool.
        index: usize,
    },
    /// Two tools of one name.
    #[error("`tools[{index}].function.name` is `{name}` again; name every tool differently")]
    NameTwice {
        /// The second.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The choice names what is not there.
    #[error("`tool_choice` names `{name}`, which is not in `tools`")]
    UnknownTool {
        /// The name.
        name: String,
    },
    /// A call is required and there is nothing to call.
    #[error("`tool_choice` requires a call, but there are no tools to call; send `tools`")]
    NoTools,
}

/// A tool that may be called.
struct Tool {
    index: usize,
    name: String,
    /// Ready for a grammar.
    schema: Value,
}

impl GrammarError {
    /// Which field of OpenAI's API is to blame.
    pub fn param(&self) -> &'static str {
        match self {
            Self::Schema(_) | Self::Name { .. } | Self::NameTwice { .. } => "tools",
            Self::UnknownTool { .. } | Self::NoTools => "tool_choice",
            Self::Response(_) => "response_format",
        }
    }
}

/// Makes the grammar of a demand.
pub fn plan(asked: &Assignment) -> Result<Plan, GrammarError> {
    let tools = offered(asked)?;
    let is_required = match asked.demand.choice {
        ToolChoice::Required | ToolChoice::Named(_) => true,
        ToolChoice::Allowed { is_required, .. } => is_required,
        ToolChoice::Auto | ToolChoice::None => false,
    };
    if is_required && tools.is_empty() {
        return Err(GrammarError::NoTools);
    }
    let content = Content::of(&asked.demand.response)?;
    let offered = tools.iter().map(|tool| tool.index).collect();
    if tools.is_empty() {
        let grammar = content.map(|content| {
            let mut lark = Lark::new(asked.control_id);
            shape::write_content(&mut lark, asked, &content);
            lark.finish()
        });
        // its channels have to be read anyway
        let calls = (asked.calls == CallFormat::Harmony).then_some(CallFormat::Harmony);
        return Ok(Plan { grammar, calls, delivery: Delivery::Whole, offered });
    }
    let is_free = !is_required && content.is_none();
    let Some(shape) = Shape::of(asked, &tools, is_free) else {
        let calls = Some(asked.calls);
        return Ok(Plan { grammar: None, calls, delivery: Delivery::Whole, offered });
    };
    let mut lark = Lark::new(asked.control_id);
    shape.write(&mut lark, asked, &tools, is_required, content.as_ref());
    let (calls, delivery) = (Some(shape.calls), shape.delivery(is_required));
    Ok(Plan { grammar: Some(lark.finish()), calls, delivery, offered })
}

/// The text of calls as a grammar of the format forces it, for turns that the model reads again.
/// `has_control`: which markers are control tokens.
pub fn write_calls(
    format: CallFormat,
    calls: &[ToolCall],
    has_control: &dyn Fn(&str) -> bool,
) -> String {
    Shape::plain(format, has_control).text(calls)
}

/// The tools that the choice leaves. All are checked, the others too: what is wrong with them
/// is wrong whatever is chosen.
fn offered(asked: &Assignment) -> Result<Vec<Tool>, GrammarError> {
    let mut tools = Vec::new();
    let mut names = HashSet::new();
    for (index, definition) in asked.tools.iter().enumerate() {
        let function = definition.get("function").unwrap_or(definition);
        let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
        if !is_name(name) {
            return Err(GrammarError::Name { index });
        }
        if !names.insert(name) {
            return Err(GrammarError::NameTwice { index, name: name.to_owned() });
        }
        let place = format!("tools[{index}].function.parameters");
        let schema = match function.get("parameters") {
            None | Some(Value::Null) => json!({ "type": "object", "additionalProperties": false }),
            Some(schema) => schema::object(schema, &place)?,
        };
        let schema = prepare(&schema, &place, Strictness::of(function))?;
        tools.push(Tool { index, name: name.to_owned(), schema });
    }
    let chosen: &[String] = match &asked.demand.choice {
        ToolChoice::None => return Ok(Vec::new()),
        ToolChoice::Auto | ToolChoice::Required => return Ok(tools),
        ToolChoice::Named(name) => std::slice::from_ref(name),
        ToolChoice::Allowed { names, .. } => names,
    };
    if let Some(name) = chosen.iter().find(|name| !names.contains(name.as_str())) {
        return Err(GrammarError::UnknownTool { name: name.clone() });
    }
    tools.retain(|tool| chosen.contains(&tool.name));
    Ok(tools)
}

fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    (1..=NAME_LETTERS_MAX).contains(&name.len()) && name.chars().all(is_letter)
}
