//! Fields that other servers' chat endpoints add to OpenAI's (vLLM's `ChatCompletionRequest`, and
//! through it SGLang's and others') and that are not done here. Many clients send them with the
//! value that changes nothing; any other value would be ignored in silence, so it is refused by
//! its name.

use serde_json::Value;

use crate::api::fields::{Fields, Invalid};

/// When a field asks for nothing that is not done.
#[derive(Clone, Copy)]
enum Neutral {
    /// With this value.
    Flag(bool),
    /// With either value: tokens whose spacing it tells are never part of an answer.
    AnyFlag,
    /// With this number.
    Number(f64),
    /// While it holds nothing.
    Empty,
    /// Never.
    Never,
}

const EXTENSIONS: &[(&str, Neutral)] = &[
    ("add_generation_prompt", Neutral::Flag(true)),
    ("add_special_tokens", Neutral::Flag(false)),
    ("allowed_token_ids", Neutral::Empty),
    ("bad_words", Neutral::Empty),
    ("best_of", Neutral::Number(1.0)),
    ("cache_salt", Neutral::Never),
    ("chat_template", Neutral::Never),
    ("chat_template_kwargs", Neutral::Empty),
    ("continue_final_message", Neutral::Flag(false)),
    ("documents", Neutral::Empty),
    ("echo", Neutral::Flag(false)),
    ("guided_choice", Neutral::Never),
    ("guided_grammar", Neutral::Never),
    ("guided_json", Neutral::Never),
    ("guided_regex", Neutral::Never),
    ("include_stop_str_in_output", Neutral::Flag(false)),
    ("length_penalty", Neutral::Number(1.0)),
    ("logits_processors", Neutral::Empty),
    ("mm_processor_kwargs", Neutral::Empty),
    ("prompt_logprobs", Neutral::Never),
    ("return_token_ids", Neutral::Flag(false)),
    ("return_tokens_as_token_ids", Neutral::Flag(false)),
    ("skip_special_tokens", Neutral::Flag(true)),
    ("spaces_between_special_tokens", Neutral::AnyFlag),
    ("structured_outputs", Neutral::Empty),
    ("truncate_prompt_tokens", Neutral::Never),
    ("use_beam_search", Neutral::Flag(false)),
];

/// Refuses the first field that asks for something that is not done; `read` are those that the
/// endpoint reads itself.
pub fn refuse_unsupported(fields: &Fields<'_>, read: &[&str]) -> Result<(), Invalid> {
    for (name, neutral) in EXTENSIONS.iter().filter(|(name, _)| !read.contains(name)) {
        if let Some(value) = fields.get(name)
            && let Some(message) = neutral.refuses(value)
        {
            return Err(Invalid::unsupported(*name, message));
        }
    }
    Ok(())
}

impl Neutral {
    /// What is wrong with a value, and what to do.
    fn refuses(self, value: &Value) -> Option<String> {
        let advice = match self {
            Self::Flag(flag) if value.as_bool() == Some(flag) => return None,
            Self::AnyFlag if value.is_boolean() => return None,
            Self::Number(number) if value.as_f64() == Some(number) => return None,
            Self::Empty if is_empty(value) => return None,
            Self::Flag(flag) => format!("is only supported as {flag}"),
            Self::AnyFlag => "is only supported as true or false".to_owned(),
            Self::Number(number) => format!("is only supported as {number}"),
            Self::Empty | Self::Never => {
                "is not supported by this gateway; leave it out".to_owned()
            }
        };
        Some(advice)
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(|map| map.is_empty())
}
