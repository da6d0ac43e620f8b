//! The body of `POST /v1/chat/completions`, parsed once.
//!
//! What is read, ignored and refused follows what clients send. Unknown fields are ignored, because clients of other servers send many.

use std::collections::BTreeMap;

use engine_api::{
    Choices, Demand, LogitBias, MaxTokens, MinP, ModelId, OutOfRange, Penalty, Priority,
    PromptSource, RepetitionPenalty, Seed, StopStrings, StopTokens, Temperature, TokenId, TopK,
    TopLogprobs, TopP,
};
use serde_json::Value;

use super::{extensions, messages};
use crate::api::fields::{Fields, Invalid};
use crate::pipeline::ChatRequest;

/// Every field that means something here, also those that are ignored on purpose.
const KNOWN: &[&str] = &[
    "audio",
    "continuous_usage_stats",
    "frequency_penalty",
    "function_call",
    "functions",
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

/// How the answer is written, which changes nothing of what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rendering {
    /// Server-sent events instead of one JSON object.
    pub stream: bool,
    /// A last chunk with the usage.
    pub include_usage: bool,
    /// The usage so far in every chunk.
    pub continuous_usage: bool,
    /// The client named a service tier and wants to read which it got.
    pub service_tier: bool,
}

/// Reads a body. Its fields are checked here and nowhere again.
pub fn parse(body: &Value) -> Result<(ChatRequest, Rendering), Invalid> {
    let fields = Fields::new(String::new(), body, KNOWN)?;
    refuse_unsupported(&fields)?;
    let ignored = fields.names().filter(|name| !KNOWN.contains(name)).count();
    if ignored > 0 {
        tracing::debug!(ignored, "the request has fields that mean nothing here");
    }
    let model = fields.required_text("model")?;
    if model.is_empty() || model.len() > 256 {
        return Err(Invalid::value("model", "must have 1 to 256 bytes"));
    }
    let rendering = rendering(&fields)?;
    let max_tokens = max_tokens(&fields)?;
    let request = ChatRequest {
        model: ModelId::new(model),
        source: PromptSource::Chat(messages::parse(&fields)?),
        demand: Demand::default(),
        max_tokens,
        choices: fields.integer("n", Choices::new)?.unwrap_or(Choices::ONE),
        temperature: number(&fields, "temperature", Temperature::new)?,
        top_p: number(&fields, "top_p", TopP::new)?,
        top_k: fields.integer("top_k", TopK::new)?,
        min_p: number(&fields, "min_p", MinP::new)?,
        seed: seed(&fields)?,
        frequency_penalty: number(&fields, "frequency_penalty", Penalty::new)?,
        presence_penalty: number(&fields, "presence_penalty", Penalty::new)?,
        repetition_penalty: number(&fields, "repetition_penalty", RepetitionPenalty::new)?,
        logit_bias: logit_bias(&fields)?,
        logprobs: logprobs(&fields)?,
        stop: stop(&fields)?,
        stop_tokens: stop_tokens(&fields)?,
        ignore_eos: fields.flag("ignore_eos")?,
        min_tokens: min_tokens(&fields, max_tokens)?,
        priority: fields.integer("priority", |number| Ok(Priority(number)))?.unwrap_or_default(),
        stream: rendering.stream,
    };
    Ok((request, rendering))
}

/// Reads a number, checks it, and names the field when it is refused.
fn number<T>(
    fields: &Fields<'_>,
    name: &str,
    check: impl Fn(f32) -> Result<T, OutOfRange>,
) -> Result<Option<T>, Invalid> {
    let value = fields.number(name)?;
    value.map(check).transpose().map_err(|range| Invalid::value(fields.path(name), range))
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
    refuse_tools(fields)?;
    refuse_format(fields)?;
    extensions::refuse_unsupported(fields)
}

/// Tools need constrained output, which this version does not have; a client that only lists
/// them and forbids their use is served.
fn refuse_tools(fields: &Fields<'_>) -> Result<(), Invalid> {
    let pairs = [("tools", "tool_choice"), ("functions", "function_call")];
    for (list, choice) in pairs {
        let forbidden = fields.get(choice).is_some_and(|value| value == "none");
        let offered = !fields.array(list)?.unwrap_or_default().is_empty();
        if offered && !forbidden {
            let message =
                format!("is not supported yet; leave it out or set `{choice}` to \"none\"");
            return Err(Invalid::unsupported(list, message));
        }
        let automatic = fields.get(choice).is_some_and(|value| value == "auto");
        if fields.get(choice).is_some() && !forbidden && !automatic {
            let message = "is not supported yet; leave it out or set it to \"none\"";
            return Err(Invalid::unsupported(choice, message));
        }
    }
    Ok(())
}

fn refuse_format(fields: &Fields<'_>) -> Result<(), Invalid> {
    let Some(value) = fields.get("response_format") else {
        return Ok(());
    };
    let format = Fields::new("response_format".into(), value, &["type"])?;
    match format.required_text("type")? {
        "text" => Ok(()),
        kind @ ("json_object" | "json_schema" | "grammar") => {
            let message = format!("of type \"{kind}\" is not supported yet, only \"text\" is");
            Err(Invalid::unsupported("response_format", message))
        }
        _ => Err(Invalid::value("response_format.type", "must be \"text\"")),
    }
}

/// The newer name wins where a client sends both.
fn max_tokens(fields: &Fields<'_>) -> Result<Option<MaxTokens>, Invalid> {
    let old = fields.integer("max_tokens", MaxTokens::new)?;
    let new = fields.integer("max_completion_tokens", MaxTokens::new)?;
    Ok(new.or(old))
}

fn min_tokens(fields: &Fields<'_>, max: Option<MaxTokens>) -> Result<u32, Invalid> {
    let min = fields.count("min_tokens")?.unwrap_or(0);
    match max {
        Some(max) if min > max.get() => {
            let message = format!("must be at most the {} tokens that may be drawn", max.get());
            Err(Invalid::value("min_tokens", message))
        }
        _ => Ok(min),
    }
}

/// Any integer of 64 bits; OpenAI's are signed.
fn seed(fields: &Fields<'_>) -> Result<Option<Seed>, Invalid> {
    let Some(value) = fields.get("seed") else {
        return Ok(None);
    };
    let seed = value.as_u64().or_else(|| value.as_i64().map(|seed| seed as u64));
    seed.map(|seed| Some(Seed(seed)))
        .ok_or_else(|| Invalid::kind("seed", "an integer of 64 bits", value))
}

fn logit_bias(fields: &Fields<'_>) -> Result<LogitBias, Invalid> {
    let Some(value) = fields.get("logit_bias") else {
        return Ok(LogitBias::default());
    };
    let Value::Object(map) = value else {
        return Err(Invalid::kind("logit_bias", "an object of token ids and numbers", value));
    };
    let mut entries = BTreeMap::new();
    for (key, bias) in map {
        // "+7" and "007" would be second names of token 7
        let id = key.parse::<u32>().ok().filter(|id| id.to_string() == *key);
        let Some(id) = id else {
            let shown: String = key.chars().take(32).collect();
            return Err(Invalid::value(
                "logit_bias",
                format!("has the key {shown:?}, no token id"),
            ));
        };
        let Some(bias) = bias.as_f64() else {
            return Err(Invalid::kind(format!("logit_bias.{key}"), "a number", bias));
        };
        entries.insert(TokenId(id), bias as f32);
    }
    LogitBias::new(entries).map_err(|range| Invalid::value("logit_bias", range))
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

fn stop(fields: &Fields<'_>) -> Result<StopStrings, Invalid> {
    let strings = match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .enumerate()
            .map(|(index, value)| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(Invalid::kind(format!("stop[{index}]"), "a string", other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(Invalid::kind("stop", "a string or an array of strings", other)),
    };
    StopStrings::new(strings).map_err(|range| Invalid::value("stop", range))
}

fn stop_tokens(fields: &Fields<'_>) -> Result<StopTokens, Invalid> {
    const NAME: &str = "stop_token_ids";
    let ids = fields.array(NAME)?.unwrap_or_default().iter().enumerate().map(|(index, value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map(TokenId)
            .ok_or_else(|| Invalid::kind(format!("{NAME}[{index}]"), "a token id", value))
    });
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    StopTokens::new(ids).map_err(|range| Invalid::value(NAME, range))
}

fn rendering(fields: &Fields<'_>) -> Result<Rendering, Invalid> {
    let mut rendering = Rendering {
        stream: fields.flag("stream")?,
        // a field of its own in one server's API, an option of the stream in another's
        continuous_usage: fields.flag("continuous_usage_stats")?,
        service_tier: fields.text("service_tier")?.is_some(),
        ..Rendering::default()
    };
    if let Some(value) = fields.get("stream_options") {
        let known = ["include_usage", "continuous_usage_stats", "include_obfuscation"];
        let options = Fields::new("stream_options".into(), value, &known)?;
        rendering.include_usage = options.flag("include_usage")?;
        rendering.continuous_usage |= options.flag("continuous_usage_stats")?;
    }
    Ok(rendering)
}

#[cfg(test)]
mod tests;
