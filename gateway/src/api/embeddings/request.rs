//! The body of `POST /v1/embeddings`, parsed once.

use std::num::NonZeroU32;

use engine_api::{EmbeddingRequest, EmbeddingSource, ModelId, OutOfRange, TokenId};
use serde_json::Value;

use crate::api::fields::{Fields, Invalid};

/// Every field that means something here; `user` is read by nobody.
const KNOWN: &[&str] = &["dimensions", "encoding_format", "input", "model", "user"];

/// Fields of other servers (vLLM, SGLang, NVIDIA's and Cohere's) that change vectors, with the value
/// that changes nothing.
const EXTENSIONS: &[(&str, Option<Value>)] = &[
    ("add_special_tokens", Some(Value::Bool(true))),
    ("chat_template", None),
    ("embedding_types", None),
    ("input_type", None),
    ("messages", None),
    ("normalize", Some(Value::Bool(true))),
    ("task", None),
    ("truncate", None),
    ("truncate_prompt_tokens", None),
];

/// How vectors are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    /// An array of numbers.
    Float,
    /// Text of little-endian 32-bit floats.
    Base64,
}

/// What the client asks for.
#[derive(PartialEq, Debug)]
pub(super) struct Parsed {
    pub(super) request: EmbeddingRequest,
    pub(super) encoding: Encoding,
}

/// Reads a body. Its fields are checked here; only an engine knows how long a text is.
pub(super) fn parse(body: &Value, inputs_max: usize) -> Result<Parsed, Invalid> {
    let fields = Fields::new(String::new(), body, KNOWN)?;
    for (name, neutral) in EXTENSIONS {
        if fields.get(name).is_some_and(|value| Some(value) != neutral.as_ref()) {
            return Err(Invalid::unsupported(*name, "is not supported by this gateway"));
        }
    }
    let ignored = fields.names().filter(|name| !KNOWN.contains(name)).count();
    if ignored > 0 {
        tracing::debug!(ignored, "the request has fields that mean nothing here");
    }
    let model = fields.required_text("model")?;
    if model.is_empty() || model.len() > 256 {
        return Err(Invalid::value("model", "must have 1 to 256 bytes"));
    }
    let encoding = match fields.text("encoding_format")? {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => {
            return Err(Invalid::value("encoding_format", "must be \"float\" or \"base64\""));
        }
    };
    fields.text("user")?;
    let positive = |number: u32| {
        NonZeroU32::new(number)
            .ok_or(OutOfRange { expected: "at least 1", got: number.to_string() })
    };
    let dimensions = fields.integer("dimensions", positive)?;
    let source = source(&fields, inputs_max)?;
    let request = EmbeddingRequest { model: ModelId::new(model), source, dimensions };
    Ok(Parsed { request, encoding })
}

const EXPECTED: &str =
    "a string, an array of strings, an array of token ids or an array of arrays of token ids";

fn source(fields: &Fields<'_>, inputs_max: usize) -> Result<EmbeddingSource, Invalid> {
    let input = fields.get("input").ok_or_else(|| Invalid::missing("input"))?;
    let entries = match input {
        Value::String(text) => return Ok(EmbeddingSource::Texts(vec![text_of("input", text)?])),
        Value::Array(entries) => entries,
        other => return Err(Invalid::kind("input", EXPECTED, other)),
    };
    match entries.first() {
        None => return Err(Invalid::value("input", "must not be empty")),
        // one text of many tokens
        Some(Value::Number(_)) => {
            return Ok(EmbeddingSource::Tokens(vec![ids_of("input", input)?]));
        }
        Some(_) if entries.len() > inputs_max => {
            let message = format!("has {} texts, at most {inputs_max} are taken", entries.len());
            return Err(Invalid::value("input", message));
        }
        Some(_) => {}
    }
    let path = |place: usize| format!("input[{place}]");
    let places = || entries.iter().enumerate();
    match &entries[0] {
        Value::String(_) => {
            let texts = places().map(|(place, entry)| match entry {
                Value::String(text) => text_of(&path(place), text),
                other => Err(Invalid::kind(path(place), "a string, as the first is", other)),
            });
            Ok(EmbeddingSource::Texts(texts.collect::<Result<_, _>>()?))
        }
        Value::Array(_) => {
            let inputs = places().map(|(place, entry)| ids_of(&path(place), entry));
            Ok(EmbeddingSource::Tokens(inputs.collect::<Result<_, _>>()?))
        }
        other => Err(Invalid::kind("input[0]", "a string, a token id or an array of these", other)),
    }
}

fn text_of(path: &str, text: &str) -> Result<String, Invalid> {
    match text {
        "" => Err(Invalid::value(path, "must not be empty")),
        _ => Ok(text.to_owned()),
    }
}

fn ids_of(path: &str, ids: &Value) -> Result<Vec<TokenId>, Invalid> {
    let Value::Array(ids) = ids else {
        return Err(Invalid::kind(path, "an array of token ids, as the first is", ids));
    };
    if ids.is_empty() {
        return Err(Invalid::value(path, "must not be empty"));
    }
    let id = |(place, id): (usize, &Value)| {
        let number = id.as_u64().and_then(|number| u32::try_from(number).ok());
        number
            .map(TokenId)
            .ok_or_else(|| Invalid::kind(format!("{path}[{place}]"), "a token id", id))
    };
    ids.iter().enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn input(input: Value) -> Result<EmbeddingSource, String> {
        parse(&json!({"model": "m", "input": input}), 3)
            .map(|parsed| parsed.request.source)
            .map_err(|error| error.message)
    }

    fn refusal(more: Value) -> (String, &'static str) {
        let mut body = json!({"model": "m", "input": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = parse(&body, 3).unwrap_err();
        (error.message, error.code)
    }

    #[test]
    fn every_form_of_input_is_read() {
        let texts = |texts: &[&str]| {
            EmbeddingSource::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
        };
        let tokens = |inputs: &[&[u32]]| {
            let ids = |ids: &&[u32]| ids.iter().map(|id| TokenId(*id)).collect();
            EmbeddingSource::Tokens(inputs.iter().map(ids).collect())
        };
        assert_eq!(input(json!("a b")), Ok(texts(&["a b"])));
        assert_eq!(input(json!(["a", "b"])), Ok(texts(&["a", "b"])));
        assert_eq!(input(json!([1, 2, 3, 4, 5])), Ok(tokens(&[&[1, 2, 3, 4, 5]])));
        assert_eq!(input(json!([[1], [2, 3]])), Ok(tokens(&[&[1], &[2, 3]])));
        let body = json!({"model": "m", "input": "x", "dimensions": 8, "user": "u",
            "encoding_format": "base64", "normalize": true, "something": 1});
        let parsed = parse(&body, 3).unwrap();
        assert_eq!(parsed.encoding, Encoding::Base64);
        assert_eq!(parsed.request.dimensions, NonZeroU32::new(8));
    }

    #[test]
    fn what_is_no_input_is_refused_with_its_place() {
        for (value, expected) in [
            (json!(null), "`input` is required"),
            (
                json!(1),
                "`input` must be a string, an array of strings, an array of token ids or an \
                        array of arrays of token ids, got an integer",
            ),
            (json!(""), "`input` must not be empty"),
            (json!([]), "`input` must not be empty"),
            (json!(["a", ""]), "`input[1]` must not be empty"),
            (json!(["a", 1]), "`input[1]` must be a string, as the first is, got an integer"),
            (json!([1, "a"]), "`input[1]` must be a token id, got a string"),
            (json!([1, -1]), "`input[1]` must be a token id, got an integer"),
            (json!([[1], []]), "`input[1]` must not be empty"),
            (
                json!([[1], 2]),
                "`input[1]` must be an array of token ids, as the first is, got an integer",
            ),
            (json!([[1, 2.5]]), "`input[0][1]` must be a token id, got a number with a fraction"),
            (
                json!([{}]),
                "`input[0]` must be a string, a token id or an array of these, got an object",
            ),
            (json!(["a", "b", "c", "d"]), "`input` has 4 texts, at most 3 are taken"),
        ] {
            assert_eq!(input(value), Err(expected.to_owned()));
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (more, expected, code) in [
            (
                json!({"encoding_format": "int8"}),
                "`encoding_format` must be \"float\" or \"base64\"",
                "invalid_value",
            ),
            (json!({"dimensions": 0}), "`dimensions` must be at least 1, got 0", "invalid_value"),
            (
                json!({"dimensions": "8"}),
                "`dimensions` must be an integer, got a string",
                "invalid_type",
            ),
            (
                json!({"truncate_prompt_tokens": 5}),
                "`truncate_prompt_tokens` is not supported by this gateway",
                "unsupported_parameter",
            ),
            (
                json!({"normalize": false}),
                "`normalize` is not supported by this gateway",
                "unsupported_parameter",
            ),
            (json!({"model": ""}), "`model` must have 1 to 256 bytes", "invalid_value"),
            (json!({"user": 1}), "`user` must be a string, got an integer", "invalid_type"),
            (json!({"Input": "x"}), "`Input` must be written `input`", "invalid_value"),
        ] {
            assert_eq!(refusal(more), (expected.to_owned(), code));
        }
    }
}
