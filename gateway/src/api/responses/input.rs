//! `instructions` and `input`: what the client says, as turns of a chat.

use engine_api::{Conversation, FunctionCall, Message, Role, ToolCall};
use serde_json::Value;

use crate::api::fields::{Fields, Invalid, joined_text};

/// Reads both. At least one message.
pub fn parse(body: &Fields<'_>) -> Result<Conversation, Invalid> {
    let mut turns = Turns::default();
    if let Some(instructions) = body.text("instructions")? {
        turns.say(Role::System, Some(instructions.to_owned()));
    }
    match body.get("input") {
        None => return Err(Invalid::missing("input")),
        Some(Value::String(text)) => turns.say(Role::User, Some(text.clone())),
        Some(Value::Array(items)) if items.is_empty() => {
            return Err(Invalid::value("input", "must hold at least one item"));
        }
        Some(Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                item(format!("input[{index}]"), value, &mut turns)?;
            }
        }
        Some(other) => return Err(Invalid::kind("input", "a string or an array of items", other)),
    }
    if turns.messages.is_empty() {
        return Err(Invalid::value("input", "must hold at least one message"));
    }
    Ok(Conversation { messages: turns.messages, tools: Vec::new() })
}

/// Turns as templates want them: what the assistant says and calls in a row is one turn.
#[derive(Default)]
struct Turns {
    messages: Vec<Message>,
    /// What the assistant thought before its next turn.
    thought: Option<String>,
}

impl Turns {
    fn say(&mut self, role: Role, content: Option<String>) {
        let reasoning = self.thought.take().filter(|_| role == Role::Assistant);
        let (name, tool_calls, tool_call_id) = (None, Vec::new(), None);
        self.messages.push(Message { role, content, reasoning, name, tool_calls, tool_call_id });
    }

    fn call(&mut self, call: ToolCall) {
        if self.messages.last().is_none_or(|last| last.role != Role::Assistant) {
            self.say(Role::Assistant, None);
        }
        let last = self.messages.last_mut().expect("a turn of the assistant is the last");
        last.tool_calls.push(call);
    }

    fn answer(&mut self, call: &str, content: String) {
        self.say(Role::Tool, Some(content));
        let last = self.messages.last_mut().expect("a turn of the tool is the last");
        last.tool_call_id = Some(call.to_owned());
    }
}

const ITEM: &[&str] = &[
    "type",
    "role",
    "content",
    "id",
    "status",
    "call_id",
    "name",
    "arguments",
    "output",
    "summary",
];

fn item(at: String, value: &Value, turns: &mut Turns) -> Result<(), Invalid> {
    let fields = Fields::new(at, value, ITEM)?;
    match fields.text("type")? {
        None | Some("message") => message(&fields, turns),
        Some("function_call") => {
            let id = fields.required_text("call_id")?.to_owned();
            let name = fields.required_text("name")?.to_owned();
            let arguments = fields.text("arguments")?.unwrap_or("{}").to_owned();
            turns.call(ToolCall { id, function: FunctionCall { name, arguments } });
            Ok(())
        }
        Some("function_call_output") => {
            let call = fields.required_text("call_id")?;
            let output = joined_text(&fields, "output", part)?;
            turns.answer(call, output.unwrap_or_default());
            Ok(())
        }
        Some("reasoning") => {
            // a summary, or what only another server can read, is no thought of the model
            turns.thought = joined_text(&fields, "content", part)?.filter(|text| !text.is_empty());
            Ok(())
        }
        Some("item_reference") => {
            let message = "refers to a stored item, but nothing is stored here; send the item";
            Err(Invalid::unsupported(fields.path("type"), message))
        }
        Some(kind) => {
            let shown: String = kind.chars().take(64).collect();
            let message = format!(
                "{shown:?} is not supported; messages, functions' calls and \
                                   their outputs are"
            );
            Err(Invalid::unsupported(fields.path("type"), message))
        }
    }
}

fn message(fields: &Fields<'_>, turns: &mut Turns) -> Result<(), Invalid> {
    let role = match fields.required_text("role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        "developer" => Role::Developer,
        _ => {
            let expected = "must be \"user\", \"assistant\", \"system\" or \"developer\"";
            return Err(Invalid::value(fields.path("role"), expected));
        }
    };
    let content = joined_text(fields, "content", part)?;
    turns.say(role, content);
    Ok(())
}

fn part(at: String, value: &Value) -> Result<&str, Invalid> {
    let part = Fields::new(at, value, &["type", "text", "refusal"])?;
    match part.required_text("type")? {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
            part.required_text("text")
        }
        "refusal" => part.required_text("refusal"),
        "input_image" | "input_file" | "input_audio" | "computer_screenshot" => {
            let message = "must be text: this gateway serves models that read text only";
            Err(Invalid::unsupported(part.path("type"), message))
        }
        _ => {
            let expected = "must be \"input_text\", \"output_text\" or \"refusal\"";
            Err(Invalid::value(part.path("type"), expected))
        }
    }
}
