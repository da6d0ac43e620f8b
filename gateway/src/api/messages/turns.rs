//! `system` and `messages`: what the client says, as turns of a chat.

use engine_api::{Conversation, FunctionCall, Message, Role, ToolCall};
use serde_json::Value;

use crate::api::fields::{Fields, Invalid};

/// Reads both. At least one message, and the last of them not the assistant's.
pub fn parse(body: &Fields<'_>) -> Result<Conversation, Invalid> {
    let mut messages = Vec::new();
    let system = text(body, "system")?.filter(|system| !system.is_empty());
    messages.extend(system.map(|system| said(Role::System, Some(system))));
    let Some(values) = body.array("messages")? else {
        return Err(Invalid::missing("messages"));
    };
    if values.is_empty() {
        return Err(Invalid::value("messages", "must hold at least one message"));
    }
    for (index, value) in values.iter().enumerate() {
        let fields = Fields::new(format!("messages[{index}]"), value, &["role", "content"])?;
        if fields.get("content").is_none() {
            return Err(Invalid::missing(fields.path("content")));
        }
        match fields.required_text("role")? {
            "user" => user(&fields, &mut messages)?,
            "assistant" => messages.push(assistant(&fields)?),
            "system" => messages.push(said(Role::System, text(&fields, "content")?)),
            _ => {
                let expected = "must be \"user\" or \"assistant\"";
                return Err(Invalid::value(fields.path("role"), expected));
            }
        }
    }
    if messages.last().is_some_and(|last| last.role == Role::Assistant) {
        let message = "must end with a message of the user: an answer is not begun for the model";
        return Err(Invalid::unsupported("messages", message));
    }
    Ok(Conversation { messages, tools: Vec::new() })
}

fn said(role: Role, content: Option<String>) -> Message {
    let (reasoning, name, tool_calls, tool_call_id) = (None, None, Vec::new(), None);
    Message { role, content, reasoning, name, tool_calls, tool_call_id }
}

/// Results of tools first, each a turn of its own; what the user says beside them follows.
fn user(fields: &Fields<'_>, messages: &mut Vec<Message>) -> Result<(), Invalid> {
    let mut texts = Vec::new();
    let mut has_results = false;
    for block in blocks(fields, "content")? {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Other("tool_result", block) => {
                messages.push(result(&block)?);
                has_results = true;
            }
            Block::Other(kind, block) => {
                return Err(unknown(&block, kind, "\"text\" or \"tool_result\""));
            }
        }
    }
    if !texts.is_empty() || !has_results {
        messages.push(said(Role::User, Some(texts.join("\n"))));
    }
    Ok(())
}

fn result(block: &Fields<'_>) -> Result<Message, Invalid> {
    let content = text(block, "content")?.unwrap_or_default();
    // templates have no other place to say so
    let content = if block.flag("is_error")? { format!("error: {content}") } else { content };
    let tool_call_id = Some(block.required_text("tool_use_id")?.to_owned());
    Ok(Message { tool_call_id, ..said(Role::Tool, Some(content)) })
}

fn assistant(fields: &Fields<'_>) -> Result<Message, Invalid> {
    let (mut texts, mut tool_calls, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    for block in blocks(fields, "content")? {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Other("tool_use", block) => tool_calls.push(call(&block)?),
            Block::Other("thinking", block) => thoughts.push(block.required_text("thinking")?),
            // of another server, and readable by that one alone
            Block::Other("redacted_thinking", _) => {}
            Block::Other(kind, block) => {
                return Err(unknown(&block, kind, "\"text\", \"tool_use\" or \"thinking\""));
            }
        }
    }
    let joined = |texts: Vec<&str>| (!texts.is_empty()).then(|| texts.join("\n"));
    let (content, reasoning) = (joined(texts), joined(thoughts));
    Ok(Message { tool_calls, reasoning, ..said(Role::Assistant, content) })
}

fn call(block: &Fields<'_>) -> Result<ToolCall, Invalid> {
    let arguments = match block.get("input") {
        None => "{}".to_owned(),
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(other) => return Err(Invalid::kind(block.path("input"), "an object", other)),
    };
    let name = block.required_text("name")?.to_owned();
    let id = block.required_text("id")?.to_owned();
    Ok(ToolCall { id, function: FunctionCall { name, arguments } })
}

/// Text alone: a string, or blocks of text, which are joined by line ends.
fn text(fields: &Fields<'_>, name: &str) -> Result<Option<String>, Invalid> {
    if fields.get(name).is_none() {
        return Ok(None);
    }
    let mut texts = Vec::new();
    for block in blocks(fields, name)? {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Other(kind, block) => return Err(unknown(&block, kind, "\"text\"")),
        }
    }
    Ok(Some(texts.join("\n")))
}

/// A block of a content. A content that is a string is one block of text.
enum Block<'a> {
    Text(&'a str),
    /// With its type.
    Other(&'a str, Fields<'a>),
}

fn blocks<'a>(fields: &Fields<'a>, name: &str) -> Result<Vec<Block<'a>>, Invalid> {
    const KNOWN: &[&str] = &[
        "type",
        "text",
        "id",
        "name",
        "input",
        "tool_use_id",
        "content",
        "is_error",
        "thinking",
        "signature",
        "data",
        "source",
        "cache_control",
    ];
    match fields.get(name) {
        Some(Value::String(text)) => Ok(vec![Block::Text(text)]),
        Some(Value::Array(values)) => values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let at = fields.path(&format!("{name}[{index}]"));
                let block = Fields::new(at, value, KNOWN)?;
                match block.required_text("type")? {
                    "text" => Ok(Block::Text(block.required_text("text")?)),
                    kind => Ok(Block::Other(kind, block)),
                }
            })
            .collect(),
        Some(other) => {
            Err(Invalid::kind(fields.path(name), "a string or an array of blocks", other))
        }
        None => Ok(Vec::new()),
    }
}

fn unknown(block: &Fields<'_>, kind: &str, expected: &str) -> Invalid {
    match kind {
        "image" | "document" | "search_result" | "container_upload" => {
            let message = format!(
                "must be {expected}: this gateway serves models that read text \
                                   only"
            );
            Invalid::unsupported(block.path("type"), message)
        }
        _ => Invalid::value(block.path("type"), format!("must be {expected}")),
    }
}
