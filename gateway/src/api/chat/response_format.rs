//! What an answer has to be, in every spelling that clients use: OpenAI's `response_format`, and
//! vLLM's `structured_outputs` and its older `guided_*`.

use engine_api::ResponseFormat;
use serde_json::Value;

use crate::api::fields::{Fields, Invalid};

/// Fields that say it.
const NAMES: [&str; 6] = [
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
];

/// Reads the one field that says something. Two are refused: one of them would be ignored.
pub fn parse(body: &Fields<'_>) -> Result<ResponseFormat, Invalid> {
    let mut found: Option<(&str, ResponseFormat)> = None;
    for name in NAMES {
        let Some(value) = body.get(name) else { continue };
        let format = match name {
            "response_format" => response_format(value)?,
            "structured_outputs" => structured_outputs(value)?,
            _ => one(name.trim_start_matches("guided_"), name.to_owned(), value)?,
        };
        match &found {
            _ if format == ResponseFormat::Text => {}
            Some((before, _)) => {
                let message = format!("cannot be sent together with `{before}`; send one of them");
                return Err(Invalid::value(name, message));
            }
            None => found = Some((name, format)),
        }
    }
    Ok(found.map_or(ResponseFormat::Text, |(_, format)| format))
}

fn response_format(value: &Value) -> Result<ResponseFormat, Invalid> {
    let known = ["type", "json_schema", "schema"];
    let format = Fields::new("response_format".into(), value, &known)?;
    match format.required_text("type")? {
        "text" => Ok(ResponseFormat::Text),
        // other servers take a schema here
        "json_object" => match format.get("schema") {
            None => Ok(ResponseFormat::JsonObject),
            Some(schema) => Ok(ResponseFormat::JsonSchema(object(format.path("schema"), schema)?)),
        },
        "json_schema" => {
            let at = format.path("json_schema");
            let value = format.get("json_schema").ok_or_else(|| Invalid::missing(at.clone()))?;
            let known = ["name", "description", "schema", "strict"];
            let named = Fields::new(at, value, &known)?;
            named.text("name")?;
            named.text("description")?;
            // it is enforced either way
            named.flag("strict")?;
            let at = named.path("schema");
            let schema = named.get("schema").ok_or_else(|| Invalid::missing(at.clone()))?;
            Ok(ResponseFormat::JsonSchema(object(at, schema)?))
        }
        _ => {
            let message = "must be \"text\", \"json_object\" or \"json_schema\"";
            Err(Invalid::value("response_format.type", message))
        }
    }
}

fn structured_outputs(value: &Value) -> Result<ResponseFormat, Invalid> {
    const KINDS: [&str; 4] = ["json", "regex", "choice", "grammar"];
    let fields = Fields::new("structured_outputs".into(), value, &KINDS)?;
    let mut found = ResponseFormat::Text;
    for name in fields.names() {
        let Some(value) = fields.get(name) else { continue };
        let at = fields.path(name);
        if !KINDS.contains(&name) {
            // what only tunes another server's engine is sent with its neutral value
            if value == false {
                continue;
            }
            return Err(Invalid::unsupported(at, "is not supported by this gateway; leave it out"));
        }
        if found != ResponseFormat::Text {
            return Err(Invalid::value(at, "cannot be sent together with another of its kind"));
        }
        found = one(name, at, value)?;
    }
    Ok(found)
}

fn one(kind: &str, at: String, value: &Value) -> Result<ResponseFormat, Invalid> {
    let text = || match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Invalid::kind(at.clone(), "a string", value)),
    };
    match kind {
        "json" => Ok(ResponseFormat::JsonSchema(schema(at, value)?)),
        "regex" => Ok(ResponseFormat::Regex(text()?)),
        "grammar" => Ok(ResponseFormat::Grammar(text()?)),
        _ => {
            let Some(items) = value.as_array() else {
                return Err(Invalid::kind(at, "an array of strings", value));
            };
            let texts = items.iter().enumerate().map(|(index, item)| match item.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(Invalid::kind(format!("{at}[{index}]"), "a string", item)),
            });
            Ok(ResponseFormat::Choice(texts.collect::<Result<_, _>>()?))
        }
    }
}

/// A schema, or its text.
fn schema(at: String, value: &Value) -> Result<Value, Invalid> {
    match value {
        Value::String(text) => match crate::api::json::parse(text.as_bytes()) {
            Ok(read) => object(at, &read),
            Err(_) => Err(Invalid::value(at, "must be a JSON schema or its text")),
        },
        _ => object(at, value),
    }
}

fn object(at: String, value: &Value) -> Result<Value, Invalid> {
    match value {
        Value::Object(_) => Ok(value.clone()),
        _ => Err(Invalid::kind(at, "a JSON schema, that is, an object", value)),
    }
}
