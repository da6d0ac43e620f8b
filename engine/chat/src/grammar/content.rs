//! What an answer without calls has to be.

use engine_api::ResponseFormat;
use serde_json::{Value, json};

use super::client_lark::{self, Refused};
use super::schema::{SchemaError, Strictness, is_matched_forwards, prepare};

/// Where a response's schema is in a request.
const RESPONSE: &str = "response_format.json_schema.schema";
/// Most texts to choose from.
const CHOICES_MAX: usize = 1024;

/// A response format that was checked.
#[derive(Debug)]
pub enum Content {
    /// JSON of a schema that is ready for a grammar.
    Json(Value),
    /// A regular expression as Lark writes it, without its slashes.
    Regex(String),
    /// Texts.
    Choice(Vec<String>),
    /// A grammar of the client's.
    Grammar(String),
}

/// What is wrong with a response format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResponseError {
    /// Its schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Its regular expression.
    #[error(
        "the regular expression has to be one that matches some text, without look-around and \
         references back"
    )]
    Regex,
    /// Its texts.
    #[error("the texts to choose from have to be 1 to {CHOICES_MAX}, none of them empty")]
    Choice,
    /// Its grammar.
    #[error("the grammar {0}")]
    Grammar(Refused),
}

impl Content {
    /// Checks a format. `None`: any text.
    pub fn of(format: &ResponseFormat) -> Result<Option<Self>, ResponseError> {
        let content = match format {
            ResponseFormat::Text => return Ok(None),
            ResponseFormat::JsonObject => {
                Self::Json(prepare(&json!({ "type": "object" }), RESPONSE, Strictness::Strict)?)
            }
            ResponseFormat::JsonSchema(schema) => {
                Self::Json(prepare(schema, RESPONSE, Strictness::Strict)?)
            }
            ResponseFormat::Regex(text) => Self::Regex(lark_regex(text)?),
            ResponseFormat::Choice(texts) => {
                let is_usable = !texts.is_empty() && texts.len() <= CHOICES_MAX;
                if !is_usable || texts.iter().any(String::is_empty) {
                    return Err(ResponseError::Choice);
                }
                Self::Choice(texts.clone())
            }
            ResponseFormat::Grammar(text) => {
                client_lark::check(text).map_err(ResponseError::Grammar)?;
                Self::Grammar(text.clone())
            }
        };
        Ok(Some(content))
    }
}

/// An expression that matches the same, and cannot end the literal that it stands in. What is
/// matched is the whole answer anyway, so anchors at its ends say nothing.
fn lark_regex(text: &str) -> Result<String, ResponseError> {
    if !is_matched_forwards(text) {
        return Err(ResponseError::Regex);
    }
    let text = text.strip_prefix('^').unwrap_or(text);
    let body = text.strip_suffix('$').filter(|body| {
        let escapes = body.len() - body.trim_end_matches('\\').len();
        escapes % 2 == 0
    });
    let mut out = String::new();
    let mut letters = body.unwrap_or(text).chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('\n') => out.push_str("\\n"),
                Some(escaped) => out.extend(['\\', escaped]),
                None => return Err(ResponseError::Regex),
            },
            '/' => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            _ => out.push(letter),
        }
    }
    if out.is_empty() { Err(ResponseError::Regex) } else { Ok(out) }
}
