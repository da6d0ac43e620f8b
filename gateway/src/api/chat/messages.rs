//! The turns of a chat, in every spelling that clients use.

use engine_api::{Conversation, FunctionCall, Message, Role, ToolCall};
use serde_json::Value;

use crate::api::fields::{Fields, Invalid, joined_text};

const KNOWN: &[&str] = &[
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "reasoning",
    "reasoning_content",
];

/// Reads `messages`. At least one.
pub fn parse(body: &Fields<'_>) -> Result<Conversation, Invalid> {
    let Some(values) = body.array("messages")? else {
        return Err(Invalid::missing("messages"));
    };
    if values.is_empty() {
        return Err(Invalid::value("messages", "must hold at least one message"));
    }
    let messages = values
        .iter()
        .enumerate()
        .map(|(index, value)| message(format!("messages[{index}]"), value))
        .collect::<Result<_, _>>()?;
    Ok(Conversation { messages, tools: Vec::new() })
}

fn message(at: String, value: &Value) -> Result<Message, Invalid> {
    let fields = Fields::new(at, value, KNOWN)?;
    let role = match fields.required_text("role")? {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        // the older name of a tool's answer
        "tool" | "function" => Role::Tool,
        _ => {
            let expected = "must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"";
            return Err(Invalid::value(fields.path("role"), expected));
        }
    };
    Ok(Message {
        role,
        content: joined_text(&fields, "content", part)?,
        reasoning: reasoning(&fields)?,
        name: fields.text("name")?.map(str::to_owned),
        tool_calls: tool_calls(&fields)?,
        tool_call_id: fields.text("tool_call_id")?.map(str::to_owned),
    })
}

/// Under both names that servers give it.
fn reasoning(fields: &Fields<'_>) -> Result<Option<String>, Invalid> {
    let text = match fields.text("reasoning_content")? {
        Some(text) => Some(text),
        None => fields.text("reasoning")?,
    };
    Ok(text.map(str::to_owned))
}

fn part(at: String, value: &Value) -> Result<&str, Invalid> {
    if let Value::String(text) = value {
        return Ok(text);
    }
    let part = Fields::new(at, value, &["type", "text", "refusal"])?;
    match part.required_text("type")? {
        "text" => part.required_text("text"),
        "refusal" => part.required_text("refusal"),
        "image_url" | "input_audio" | "file" | "audio" | "video_url" => {
            let message = "must be \"text\": this gateway serves models that read text only";
            Err(Invalid::unsupported(part.path("type"), message))
        }
        _ => Err(Invalid::value(part.path("type"), "must be \"text\"")),
    }
}

fn tool_calls(fields: &Fields<'_>) -> Result<Vec<ToolCall>, Invalid> {
    let mut calls = Vec::new();
    for (index, value) in fields.array("tool_calls")?.unwrap_or_default().iter().enumerate() {
        let at = fields.path(&format!("tool_calls[{index}]"));
        let call = Fields::new(at, value, &["id", "type", "function"])?;
        if call.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(Invalid::unsupported(call.path("type"), "must be \"function\""));
        }
        let id = call.text("id")?.unwrap_or_default().to_owned();
        calls.push(ToolCall { id, function: function(&call, "function")? });
    }
    // the older form, without an id
    if fields.get("function_call").is_some() {
        calls.push(ToolCall { id: String::new(), function: function(fields, "function_call")? });
    }
    Ok(calls)
}

fn function(outer: &Fields<'_>, name: &str) -> Result<FunctionCall, Invalid> {
    let at = outer.path(name);
    let value = outer.get(name).ok_or_else(|| Invalid::missing(at.clone()))?;
    let fields = Fields::new(at, value, &["name", "arguments"])?;
    Ok(FunctionCall {
        name: fields.required_text("name")?.to_owned(),
        arguments: fields.text("arguments")?.unwrap_or("{}").to_owned(),
    })
}
