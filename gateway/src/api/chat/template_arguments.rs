//! What a request says to the model's chat template beside the chat.

use engine_api::TemplateArguments;
use serde_json::Value;

use crate::api::effort::effort;
use crate::api::fields::{Fields, Invalid};

/// Reads `reasoning_effort`, `documents` and `chat_template_kwargs`. Templates that do not read
/// them are not changed by them.
pub fn parse(body: &Fields<'_>) -> Result<TemplateArguments, Invalid> {
    let mut arguments = effort(body, "reasoning_effort")?;
    arguments.documents = documents(body)?;
    let Some(value) = body.get("chat_template_kwargs") else { return Ok(arguments) };
    let known = ["enable_thinking", "thinking", "documents"];
    let kwargs = Fields::new("chat_template_kwargs".into(), value, &known)?;
    for name in kwargs.names() {
        if !known.contains(&name) && kwargs.get(name).is_some() {
            let message = "is not supported by this gateway; leave it out";
            return Err(Invalid::unsupported(kwargs.path(name), message));
        }
    }
    // Qwen's name and DeepSeek's
    for name in ["enable_thinking", "thinking"] {
        if kwargs.get(name).is_some() {
            let thinking = kwargs.flag(name)?;
            if name == "thinking"
                && kwargs.get("enable_thinking").is_some_and(|other| *other != thinking)
            {
                let message = "says the opposite of `enable_thinking`";
                return Err(Invalid::value(kwargs.path(name), message));
            }
            arguments.thinking = Some(thinking);
        }
    }
    let more = documents(&kwargs)?;
    if !more.is_empty() && !arguments.documents.is_empty() {
        let message = "cannot be sent together with `documents`; send one of them";
        return Err(Invalid::value(kwargs.path("documents"), message));
    }
    arguments.documents.extend(more);
    Ok(arguments)
}

fn documents(fields: &Fields<'_>) -> Result<Vec<Value>, Invalid> {
    let documents = fields.array("documents")?.unwrap_or_default();
    for (index, document) in documents.iter().enumerate() {
        if !document.is_object() {
            let at = fields.path(&format!("documents[{index}]"));
            return Err(Invalid::kind(at, "an object", document));
        }
    }
    Ok(documents.to_vec())
}
