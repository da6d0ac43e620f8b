//! The body of `POST /v1/completions`, parsed once.

use engine_api::{MaxTokens, PromptSource, TopLogprobs};
use serde_json::Value;

use crate::api::chat::extensions;
use crate::api::fields::{Fields, Invalid};
use crate::api::parameters;
use crate::api::rendering::Rendering;
use crate::pipeline::ChatRequest;

/// Prompts at most: each has a receipt in the response's head, which some clients bound.
const PROMPTS_MAX: usize = 64;
/// Prompts times `n`, at most.
const ANSWERS_MAX: usize = 256;
/// Length of an answer where the client names none, as OpenAI's API has it.
const MAX_TOKENS: u32 = 16;

/// Every field that means something here, also those that are ignored on purpose.
const KNOWN: &[&str] = &[
    "add_special_tokens",
    "best_of",
    "continuous_usage_stats",
    "echo",
    "frequency_penalty",
    "ignore_eos",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "metadata",
    "min_p",
    "min_tokens",
    "model",
    "n",
    "presence_penalty",
    "priority",
    "prompt",
    "prompt_embeds",
    "repetition_penalty",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "stop_token_ids",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_k",
    "top_p",
    "user",
];

/// What a client wants to have completed.
#[derive(Debug)]
pub struct Completing {
    /// With the first prompt as its source.
    pub request: ChatRequest,
    /// The prompts, at least one.
    pub sources: Vec<PromptSource>,
    /// The answer begins with its prompt.
    pub echo: bool,
    /// How it is written.
    pub rendering: Rendering,
}

/// Reads a body. Its fields are checked here and nowhere again.
pub fn parse(body: &Value) -> Result<Completing, Invalid> {
    let fields = Fields::new(String::new(), body, KNOWN)?;
    // named first, so that a wrong model is what a client reads of
    parameters::model(&fields)?;
    refuse_unsupported(&fields)?;
    let rendering = Rendering::read(&fields)?;
    let sources = sources(&fields)?;
    let max_tokens = fields.integer("max_tokens", MaxTokens::new)?;
    let max_tokens = max_tokens.or_else(|| MaxTokens::new(MAX_TOKENS).ok());
    let (echo, logprobs) = (fields.flag("echo")?, logprobs(&fields)?);
    if echo && logprobs.is_some() {
        let message = "with `echo` needs the log-probabilities of the prompt, which are not \
                       computed here; leave out one of the two";
        return Err(Invalid::unsupported("logprobs", message));
    }
    let request = ChatRequest {
        logprobs,
        stream: rendering.stream,
        ..parameters::request(&fields, sources[0].clone(), max_tokens)?
    };
    let answers = sources.len() * usize::from(request.choices.get());
    if answers > ANSWERS_MAX {
        let message =
            format!("times `n` makes {answers} answers, at most {ANSWERS_MAX} are given at once");
        return Err(Invalid::value("prompt", message));
    }
    best_of(&fields, &request)?;
    Ok(Completing { request, sources, echo, rendering })
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Invalid> {
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        let message = "is not supported: these models write on after a text, not into it";
        return Err(Invalid::unsupported("suffix", message));
    }
    if fields.get("prompt_embeds").is_some() {
        return Err(Invalid::unsupported("prompt_embeds", "is not supported; send `prompt`"));
    }
    if let Some(value) = fields.get("response_format") {
        let format = Fields::new("response_format".into(), value, &["type"])?;
        if format.required_text("type")? != "text" {
            let message = "other than \"text\" is supported by `/v1/chat/completions` only";
            return Err(Invalid::unsupported("response_format", message));
        }
    }
    if fields.get("add_special_tokens").is_some() && !fields.flag("add_special_tokens")? {
        let message = "is only supported as true; send token ids to decide on each token";
        return Err(Invalid::unsupported("add_special_tokens", message));
    }
    extensions::refuse_unsupported(fields, &["add_special_tokens", "best_of", "echo"])
}

/// OpenAI draws `best_of` answers and gives the likeliest `n` of them; here all are given.
fn best_of(fields: &Fields<'_>, request: &ChatRequest) -> Result<(), Invalid> {
    let choices = u32::from(request.choices.get());
    match fields.count("best_of")? {
        Some(best_of) if best_of != choices => {
            let message = format!("is only supported as `n`, which is {choices}");
            Err(Invalid::unsupported("best_of", message))
        }
        _ => Ok(()),
    }
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<TopLogprobs>, Invalid> {
    // chat's spelling, and some clients': `false` asks for none
    if fields.get("logprobs") == Some(&Value::Bool(false)) {
        return Ok(None);
    }
    fields.integer("logprobs", TopLogprobs::new)
}

/// A text, ids, or a list of either.
fn sources(fields: &Fields<'_>) -> Result<Vec<PromptSource>, Invalid> {
    let Some(value) = fields.get("prompt") else {
        return Err(Invalid::missing("prompt"));
    };
    let values = match value {
        Value::String(text) => return Ok(vec![PromptSource::Text(text.clone())]),
        Value::Array(values) => values,
        other => {
            let expected = "a string, an array of strings, token ids or an array of token ids";
            return Err(Invalid::kind("prompt", expected, other));
        }
    };
    match values.first() {
        None => Err(Invalid::value("prompt", "must hold at least one prompt")),
        Some(Value::Number(_)) => {
            Ok(vec![PromptSource::Tokens(parameters::token_ids("prompt", values)?)])
        }
        Some(_) if values.len() > PROMPTS_MAX => {
            let message = format!("has {} prompts, at most {PROMPTS_MAX} are taken", values.len());
            Err(Invalid::value("prompt", message))
        }
        Some(_) => values.iter().enumerate().map(|(index, value)| source(index, value)).collect(),
    }
}

fn source(index: usize, value: &Value) -> Result<PromptSource, Invalid> {
    let at = format!("prompt[{index}]");
    match value {
        Value::String(text) => Ok(PromptSource::Text(text.clone())),
        Value::Array(ids) => Ok(PromptSource::Tokens(parameters::token_ids(&at, ids)?)),
        other => Err(Invalid::kind(at, "a string or an array of token ids", other)),
    }
}

#[cfg(test)]
mod tests;
