//! Tells a model of its tools where its template does not.

use engine_api::CallFormat;
use serde_json::Value;

/// A text for the system turn: the tools, and how to call them. For templates that do not
/// know `tools` (see [`super::Detected::renders_tools`]).
pub fn describe_tools(format: CallFormat, tools: &[Value]) -> String {
    let mut text = String::from("# Tools\n\nYou can call these functions:\n");
    for tool in tools {
        text.push('\n');
        // as the models' own templates write them: with spaces, and keys in the client's order
        text.push_str(&spaced(tool));
    }
    text.push_str("\n\nTo call functions, answer with nothing but\n");
    text.push_str(form(format));
    text.push_str("\nwith their names and arguments. To answer yourself, write plain text.");
    text
}

/// How a call looks.
fn form(format: CallFormat) -> &'static str {
    match format {
        CallFormat::Hermes | CallFormat::Qwen => {
            "<tool_call>\n{\"name\": \"function\", \"arguments\": {\"parameter\": \"value\"}}\n</tool_call>"
        }
        CallFormat::Llama3Json => {
            "{\"name\": \"function\", \"parameters\": {\"parameter\": \"value\"}}"
        }
        CallFormat::Mistral => {
            "[TOOL_CALLS] [{\"name\": \"function\", \"arguments\": {\"parameter\": \"value\"}}]"
        }
        CallFormat::Pythonic => "[function(parameter=\"value\")]",
        CallFormat::Gemma => "```tool_code\nfunction(parameter=\"value\")\n```",
        CallFormat::DeepSeek => {
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>function\n```json\n\
             {\"parameter\": \"value\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        }
        CallFormat::Harmony => {
            "<|channel|>commentary to=functions.function <|constrain|>json<|message|>\
             {\"parameter\": \"value\"}<|call|>"
        }
        CallFormat::OwnJson => {
            "{\"tool_calls\": [{\"name\": \"function\", \"arguments\": {\"parameter\": \"value\"}}]}"
        }
    }
}

/// JSON on one line with a space after each comma and colon.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let each =
                fields.map(|(key, item)| format!("{}: {}", Value::from(&**key), spaced(item)));
            format!("{{{}}}", each.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}
