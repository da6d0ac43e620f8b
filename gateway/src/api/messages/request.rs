//! The body of `POST /v1/messages`, parsed once.

use engine_api::{MaxTokens, PromptSource, StopStrings};
use serde_json::{Value, json};

use super::{demand, turns};
use crate::api::chat::extensions;
use crate::api::fields::{Fields, Invalid};
use crate::api::parameters;
use crate::pipeline::ChatRequest;

/// Every field that means something here, also those that are ignored on purpose.
const KNOWN: &[&str] = &[
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "thread",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// Reads a body. Its fields are checked here and nowhere again.
pub fn parse(body: &Value) -> Result<ChatRequest, Invalid> {
    let fields = Fields::new(String::new(), body, KNOWN)?;
    let request = read(&fields)?;
    if request.max_tokens.is_none() {
        return Err(Invalid::missing("max_tokens"));
    }
    Ok(request)
}

/// Reads a body whose tokens are counted; it has no length of its answer.
pub fn parse_count(body: &Value) -> Result<ChatRequest, Invalid> {
    read(&Fields::new(String::new(), body, KNOWN)?)
}

fn read(fields: &Fields<'_>) -> Result<ChatRequest, Invalid> {
    // named first, so that a wrong model is what a client reads of
    parameters::model(fields)?;
    refuse_unsupported(fields)?;
    let mut chat = turns::parse(fields)?;
    chat.tools = demand::tools(fields)?;
    let demand = demand::demand(fields)?;
    let max_tokens = fields.integer("max_tokens", MaxTokens::new)?;
    Ok(ChatRequest {
        demand,
        stop: stop(fields)?,
        stream: fields.flag("stream")?,
        ..parameters::request(fields, PromptSource::Chat(chat), max_tokens)?
    })
}

/// Also OpenAI's `stop` would be read by the shared fields; both at once would be two lists.
fn stop(fields: &Fields<'_>) -> Result<StopStrings, Invalid> {
    if fields.get("stop").is_some() {
        return Err(Invalid::unsupported("stop", "is OpenAI's; send `stop_sequences`"));
    }
    parameters::stop(fields, "stop_sequences")
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Invalid> {
    // the one refusal after which Anthropic's SDKs send the whole history again
    if fields.get("thread").is_some() {
        let message = "`thread` is not supported: nothing is stored here; send all messages";
        let (param, code) = (Some("thread".to_owned()), "thread_unsupported_request");
        return Err(Invalid { param, code, message: message.to_owned() });
    }
    let never = "is not supported by this gateway; leave it out";
    let table = [
        ("container", never),
        ("context_management", never),
        ("mcp_servers", "is not supported: tools run with the client; send `tools`"),
        ("inference_geo", "is not supported; send the header `x-hanse-residency`"),
        ("n", "is not supported: a message is one answer"),
        ("logprobs", "is not part of messages; use `/v1/chat/completions`"),
    ];
    for (name, message) in table {
        let asks =
            |value: &Value| *value != json!([]) && *value != json!({}) && *value != json!(false);
        if fields.get(name).is_some_and(asks) {
            return Err(Invalid::unsupported(name, message));
        }
    }
    extensions::refuse_unsupported(fields, &[])
}

#[cfg(test)]
mod tests;
