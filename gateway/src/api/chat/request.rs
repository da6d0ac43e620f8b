//! The body of `POST /v1/chat/completions`, parsed once.
//!
//! What is read, ignored and refused follows what clients send. Unknown fields are ignored, because clients of other servers send many.

use engine_api::{Conversation, Demand, MaxTokens, PromptSource, ToolChoice, TopLogprobs};
use serde_json::Value;

use super::{extensions, messages, response_format, template_arguments, tools};
use crate::api::fields::{Fields, Invalid};
use crate::api::parameters;
use crate::api::rendering::Rendering;
use crate::pipeline::ChatRequest;

/// Every field that means something here, also those that are ignored on purpose.
const KNOWN: &[&str] = &[
    "audio",
    "chat_template_kwargs",
    "continuous_usage_stats",
    "documents",
    "frequency_penalty",
    "function_call",
    "functions",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "ignore_eos",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "min_p",
    "min_tokens",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "priority",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "stop_token_ids",
    "store",
    "stream",
    "stream_options",
    "structured_outputs",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Fields of other servers that are read here.
const READ: [&str; 7] = [
    "chat_template_kwargs",
    "documents",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "structured_outputs",
];

/// Reads a body. Its fields are checked here and nowhere again.
pub fn parse(body: &Value) -> Result<(ChatRequest, Rendering), Invalid> {
    let fields = Fields::new(String::new(), body, KNOWN)?;
    refuse_unsupported(&fields)?;
    let ignored = fields.names().filter(|name| !KNOWN.contains(name)).count();
    if ignored > 0 {
        tracing::debug!(ignored, "the request has fields that mean nothing here");
    }
    // named first, so that a wrong model is what a client reads of
    parameters::model(&fields)?;
    let offer = tools::parse(&fields)?;
    let rendering = Rendering {
        legacy_calls: offer.is_legacy,
        named_call: matches!(offer.choice, ToolChoice::Named(_)),
        ..Rendering::read(&fields)?
    };
    let max_tokens = max_tokens(&fields)?;
    let chat = Conversation { tools: offer.tools, ..messages::parse(&fields)? };
    let source = PromptSource::Chat(chat);
    let request = ChatRequest {
        demand: Demand {
            choice: offer.choice,
            is_parallel: offer.is_parallel,
            response: response_format::parse(&fields)?,
            arguments: template_arguments::parse(&fields)?,
        },
        logprobs: logprobs(&fields)?,
        stream: rendering.stream,
        ..parameters::request(&fields, source, max_tokens)?
    };
    Ok((request, rendering))
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Invalid> {
    for name in ["audio", "moderation", "web_search_options"] {
        if fields.get(name).is_some() {
            return Err(Invalid::unsupported(name, "is not supported by this gateway"));
        }
    }
    let modalities = fields.array("modalities")?.unwrap_or_default();
    if modalities.iter().any(|modality| modality != "text") {
        return Err(Invalid::unsupported("modalities", "may only hold \"text\""));
    }
    extensions::refuse_unsupported(fields, &READ)
}

/// The newer name wins where a client sends both.
fn max_tokens(fields: &Fields<'_>) -> Result<Option<MaxTokens>, Invalid> {
    let old = fields.integer("max_tokens", MaxTokens::new)?;
    let new = fields.integer("max_completion_tokens", MaxTokens::new)?;
    Ok(new.or(old))
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<TopLogprobs>, Invalid> {
    let top = fields.integer("top_logprobs", TopLogprobs::new)?;
    match (fields.flag("logprobs")?, top) {
        (true, top) => Ok(Some(top.unwrap_or_else(no_alternatives))),
        (false, Some(top)) if top.get() > 0 => {
            Err(Invalid::value("top_logprobs", "needs `logprobs` to be true"))
        }
        (false, _) => Ok(None),
    }
}

fn no_alternatives() -> TopLogprobs {
    TopLogprobs::new(0).expect("0 is in range")
}

#[cfg(test)]
mod tests;
