//! The fields that every endpoint of a text model has and spells alike: how tokens are drawn and
//! when an answer ends, in OpenAI's names and vLLM's.

use std::collections::BTreeMap;

use engine_api::{
    Choices, Demand, LogitBias, MaxTokens, MinP, ModelId, OutOfRange, Penalty, Priority,
    PromptSource, RepetitionPenalty, Seed, StopStrings, StopTokens, Temperature, TokenId, TopK,
    TopP,
};
use serde_json::Value;

use super::fields::{Fields, Invalid};
use crate::pipeline::ChatRequest;

/// The model that a request names.
pub fn model(fields: &Fields<'_>) -> Result<ModelId, Invalid> {
    let model = fields.required_text("model")?;
    if model.is_empty() || model.len() > 256 {
        return Err(Invalid::value("model", "must have 1 to 256 bytes"));
    }
    Ok(ModelId::new(model))
}

/// A request for `source` with everything that these fields say. It demands nothing of the
/// answer's form, asks for no log-probabilities and is not streamed: that each endpoint spells in
/// its own way.
pub fn request(
    fields: &Fields<'_>,
    source: PromptSource,
    max_tokens: Option<MaxTokens>,
) -> Result<ChatRequest, Invalid> {
    Ok(ChatRequest {
        model: model(fields)?,
        source,
        demand: Demand::default(),
        max_tokens,
        choices: fields.integer("n", Choices::new)?.unwrap_or(Choices::ONE),
        temperature: number(fields, "temperature", Temperature::new)?,
        top_p: number(fields, "top_p", TopP::new)?,
        top_k: fields.integer("top_k", TopK::new)?,
        min_p: number(fields, "min_p", MinP::new)?,
        seed: seed(fields)?,
        frequency_penalty: number(fields, "frequency_penalty", Penalty::new)?,
        presence_penalty: number(fields, "presence_penalty", Penalty::new)?,
        repetition_penalty: number(fields, "repetition_penalty", RepetitionPenalty::new)?,
        logit_bias: logit_bias(fields)?,
        logprobs: None,
        stop: stop(fields, "stop")?,
        stop_tokens: stop_tokens(fields)?,
        ignore_eos: fields.flag("ignore_eos")?,
        min_tokens: min_tokens(fields, max_tokens)?,
        priority: fields.integer("priority", |number| Ok(Priority(number)))?.unwrap_or_default(),
        stream: false,
    })
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

/// The texts that end an answer, in the field of this name.
pub fn stop(fields: &Fields<'_>, name: &str) -> Result<StopStrings, Invalid> {
    let strings = match fields.get(name) {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .enumerate()
            .map(|(index, value)| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(Invalid::kind(format!("{name}[{index}]"), "a string", other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(Invalid::kind(name, "a string or an array of strings", other)),
    };
    StopStrings::new(strings).map_err(|range| Invalid::value(name, range))
}

fn stop_tokens(fields: &Fields<'_>) -> Result<StopTokens, Invalid> {
    const NAME: &str = "stop_token_ids";
    let ids = token_ids(NAME, fields.array(NAME)?.unwrap_or_default())?;
    StopTokens::new(ids).map_err(|range| Invalid::value(NAME, range))
}

/// The ids in an array with this path.
pub fn token_ids(at: &str, values: &[Value]) -> Result<Vec<TokenId>, Invalid> {
    let ids = values.iter().enumerate().map(|(index, value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map(TokenId).ok_or_else(|| Invalid::kind(format!("{at}[{index}]"), "a token id", value))
    });
    ids.collect()
}
