//! The body of `POST /v1/responses`, parsed once.

use engine_api::{Choices, MaxTokens, PromptSource, TopLogprobs};
use serde_json::{Map, Value, json};

use super::shape::Echo;
use super::{demand, input};
use crate::api::chat::extensions;
use crate::api::fields::{Fields, Invalid};
use crate::api::parameters;
use crate::pipeline::ChatRequest;

/// Every field that means something here, also those that are ignored on purpose.
const KNOWN: &[&str] = &[
    "access_programs",
    "background",
    "background_options",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// What a client wants to have answered.
#[derive(Debug)]
pub struct Responding {
    /// The request.
    pub request: ChatRequest,
    /// What of it the response says again.
    pub echo: Echo,
}

/// Reads a body. Its fields are checked here and nowhere again.
pub fn parse(body: &Value) -> Result<Responding, Invalid> {
    let fields = Fields::new(String::new(), body, KNOWN)?;
    // named first, so that a wrong model is what a client reads of
    parameters::model(&fields)?;
    refuse_unsupported(&fields)?;
    let mut chat = input::parse(&fields)?;
    chat.tools = demand::tools(&fields)?;
    let demand = demand::demand(&fields)?;
    let max_tokens = fields.integer("max_output_tokens", MaxTokens::new)?;
    let request = ChatRequest {
        demand,
        logprobs: logprobs(&fields)?,
        stream: fields.flag("stream")?,
        ..parameters::request(&fields, PromptSource::Chat(chat), max_tokens)?
    };
    if request.choices != Choices::ONE {
        return Err(Invalid::unsupported("n", "is only supported as 1"));
    }
    let echo = echo(&fields, &request)?;
    Ok(Responding { request, echo })
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Invalid> {
    let stateless = "is not supported: nothing is stored here; send the whole conversation in \
                     `input`";
    let never = "is not supported by this gateway; leave it out";
    let table = [
        ("previous_response_id", stateless),
        ("conversation", stateless),
        ("prompt", "is not supported: no templates are stored here; send `input`"),
        ("background_options", never),
        ("context_management", never),
        ("moderation", never),
        ("access_programs", never),
        ("image", never),
        ("messages", "is chat's; send `input`"),
        ("max_tokens", "is chat's; send `max_output_tokens`"),
    ];
    for (name, message) in table {
        // an empty list or object asks for nothing
        let asks = |value: &Value| *value != json!([]) && *value != json!({});
        if fields.get(name).is_some_and(asks) {
            return Err(Invalid::unsupported(name, message));
        }
    }
    if fields.flag("background")? {
        let message = "is only supported as false: an answer ends with its connection";
        return Err(Invalid::unsupported("background", message));
    }
    match fields.text("truncation")? {
        None | Some("disabled") => {}
        Some("auto") => {
            let message = "is only supported as \"disabled\": nothing is left out of a prompt";
            return Err(Invalid::unsupported("truncation", message));
        }
        Some(_) => return Err(Invalid::value("truncation", "must be \"disabled\"")),
    }
    if let Some(value) = fields.get("stream_options") {
        // padding against an observer who counts bytes; it changes no text
        Fields::new("stream_options".into(), value, &["include_obfuscation"])?
            .flag("include_obfuscation")?;
    }
    extensions::refuse_unsupported(fields, &[])
}

/// They are asked for by name, or by a number of alternatives.
fn logprobs(fields: &Fields<'_>) -> Result<Option<TopLogprobs>, Invalid> {
    let mut named = false;
    for (index, value) in fields.array("include")?.unwrap_or_default().iter().enumerate() {
        let at = format!("include[{index}]");
        match value.as_str() {
            Some("message.output_text.logprobs") => named = true,
            // the reasoning is in the answer as it is
            Some("reasoning.encrypted_content") => {}
            Some(_) => return Err(Invalid::unsupported(at, "is not supported; leave it out")),
            None => return Err(Invalid::kind(at, "a string", value)),
        }
    }
    let top = fields.integer("top_logprobs", TopLogprobs::new)?;
    Ok(match top {
        Some(top) if named || top.get() > 0 => Some(top),
        None if named => TopLogprobs::new(0).ok(),
        _ => None,
    })
}

fn echo(fields: &Fields<'_>, request: &ChatRequest) -> Result<Echo, Invalid> {
    let text = |name: &str| Ok(fields.text(name)?.map(str::to_owned));
    let copied = |name: &str| fields.get(name).cloned();
    let metadata = match fields.get("metadata") {
        None => Map::new(),
        Some(Value::Object(metadata)) => metadata.clone(),
        Some(other) => return Err(Invalid::kind("metadata", "an object", other)),
    };
    if let Some((key, value)) = metadata.iter().find(|(_, value)| !value.is_string()) {
        let shown: String = key.chars().take(64).collect();
        return Err(Invalid::kind(format!("metadata.{shown}"), "a string", value));
    }
    // OpenAI's types have neither `null` nor absence here
    let format = fields.get("text").and_then(|text| text.get("format")).filter(|f| !f.is_null());
    let mut shown = json!({"format": format.cloned().unwrap_or(json!({"type": "text"}))});
    let verbosity = fields.get("text").and_then(|text| text.get("verbosity"));
    if let Some(verbosity) = verbosity.filter(|verbosity| !verbosity.is_null()) {
        shown["verbosity"] = verbosity.clone();
    }
    let effort = fields.get("reasoning").and_then(|reasoning| reasoning.get("effort"));
    Ok(Echo {
        instructions: text("instructions")?,
        max_output_tokens: request.max_tokens.map(MaxTokens::get),
        max_tool_calls: fields.count("max_tool_calls")?,
        metadata,
        parallel_tool_calls: request.demand.is_parallel,
        prompt_cache_key: text("prompt_cache_key")?,
        reasoning: json!({"effort": effort, "summary": null}),
        safety_identifier: text("safety_identifier")?,
        temperature: request.temperature.map_or(1.0, |temperature| temperature.get()),
        text: shown,
        tool_choice: copied("tool_choice").unwrap_or_else(|| "auto".into()),
        tools: fields.array("tools")?.unwrap_or_default().iter().map(tool).collect(),
        top_logprobs: request.logprobs.map_or(0, TopLogprobs::get),
        top_p: request.top_p.map_or(1.0, |top_p| top_p.get()),
        user: text("user")?,
    })
}

/// A tool as OpenAI's types want to read it again: they know no absent `strict`.
fn tool(value: &Value) -> Value {
    let mut tool = value.clone();
    if let Some(map) = tool.as_object_mut() {
        for name in ["parameters", "strict"] {
            map.entry(name).or_insert(Value::Null);
        }
    }
    tool
}

#[cfg(test)]
mod tests;
