//! What a template sees.

use std::collections::BTreeMap;

use engine_api::{Conversation, Message, Role, TemplateArguments, ToolCall};
use minijinja::value::Value;
use serde_json::{Map, json};

use super::{Template, clock, from_json};

/// The variables that hold what the client wrote: `messages`, `tools` and `documents`, as
/// Hugging Face's `apply_chat_template` passes them.
pub fn of(conversation: &Conversation, arguments: &TemplateArguments) -> serde_json::Value {
    let messages: Vec<_> = conversation.messages.iter().map(message).collect();
    // templates ask `if tools` and `tools is not none`
    let list = |items: &[serde_json::Value]| match items {
        [] => serde_json::Value::Null,
        items => items.into(),
    };
    let tools: Vec<_> = conversation.tools.iter().map(tool).collect();
    let (tools, documents) = (list(&tools), list(&arguments.documents));
    json!({ "messages": messages, "tools": tools, "documents": documents })
}

/// All variables.
pub fn variables(
    mut input: serde_json::Value,
    template: &Template,
    arguments: &TemplateArguments,
    now_unix: i64,
    marker: Option<char>,
) -> Value {
    let mut variables: BTreeMap<&str, Value> = BTreeMap::new();
    variables.insert("messages", value(input["messages"].take()));
    variables.insert("tools", value(input["tools"].take()));
    variables.insert("documents", value(input["documents"].take()));
    variables.insert("add_generation_prompt", Value::from(true));
    variables.insert("strftime_now", clock::strftime_now(now_unix));
    if let Some(thinking) = arguments.thinking {
        variables.insert("enable_thinking", thinking.into());
        variables.insert("thinking", thinking.into());
    }
    if let Some(effort) = arguments.reasoning_effort {
        variables.insert("reasoning_effort", effort.name().into());
    }
    if let Some(marker) = marker {
        variables.insert(from_json::MARKER, marker.into());
    }
    if let Some(bos) = &template.bos {
        variables.insert("bos_token", Value::from(bos));
    }
    if let Some(eos) = &template.eos {
        variables.insert("eos_token", Value::from(eos));
    }
    Value::from_pairs(variables)
}

/// Keeps the order of keys.
pub(super) fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(truth) => truth.into(),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(items) => items.into_iter().map(value).collect(),
        serde_json::Value::Object(fields) => {
            Value::from_pairs(fields.into_iter().map(|(key, item)| (key, value(item))))
        }
    }
}

/// A tool's definition without `strict`, which tells the model nothing.
fn tool(definition: &serde_json::Value) -> serde_json::Value {
    let Some(fields) = definition.as_object() else { return definition.clone() };
    let without_strict = |fields: &Map<String, serde_json::Value>| -> Map<_, _> {
        let kept = fields.iter().filter(|(key, _)| *key != "strict");
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut out = without_strict(fields);
    if let Some(function) = out.get_mut("function")
        && let Some(fields) = function.as_object()
    {
        *function = without_strict(fields).into();
    }
    out.into()
}

/// Keys are there only where the client said something: templates ask `is defined`.
fn message(message: &Message) -> serde_json::Value {
    let mut out = Map::new();
    let content = match &message.content {
        Some(content) => content.as_str().into(),
        // a turn that only calls has no content, any other has an empty one
        None if !message.tool_calls.is_empty() => serde_json::Value::Null,
        None => "".into(),
    };
    out.insert("role".into(), role(message.role).into());
    out.insert("content".into(), content);
    if let Some(reasoning) = &message.reasoning {
        // Qwen 3 and its kin; gpt-oss, which takes either this or a content
        out.insert("reasoning_content".into(), reasoning.as_str().into());
        if message.content.as_ref().is_none_or(String::is_empty) {
            out.insert("thinking".into(), reasoning.as_str().into());
        }
    }
    if let Some(name) = &message.name {
        out.insert("name".into(), name.as_str().into());
    }
    if !message.tool_calls.is_empty() {
        let calls: Vec<_> = message.tool_calls.iter().map(tool_call).collect();
        out.insert("tool_calls".into(), calls.into());
    }
    if let Some(id) = &message.tool_call_id {
        out.insert("tool_call_id".into(), id.as_str().into());
    }
    out.into()
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

/// Templates expect arguments as an object and write them with `tojson`; what is no object
/// stays text.
fn tool_call(call: &ToolCall) -> serde_json::Value {
    let text = call.function.arguments.as_str();
    let arguments = match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => serde_json::Value::Object(object),
        _ => text.into(),
    };
    let function = json!({ "name": call.function.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}
