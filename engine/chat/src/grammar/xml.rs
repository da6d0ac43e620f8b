//! Qwen's arguments as a grammar: `<parameter=p>`, a value on lines of its own, and
//! `</parameter>`, in the order of the schema.
//!
//! A text stands there as it is, so only schemas without conditions on texts can be written
//! so. The others are forced as JSON, which the parser reads, too.

use serde_json::{Map, Value};

use super::Tool;
use super::lark::{Lark, literal};
use crate::format::{KINDS_DEPTH_MAX, Kinds};

const END: &str = "</parameter>";
/// Most parameters.
const PARAMETERS_MAX: usize = 64;
/// What the parameters as a whole may have beside their properties.
const AROUND: [&str; 8] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "$defs",
    "definitions",
    "$schema",
    "x-guidance",
];

/// What a value is.
enum Written<'a> {
    /// Any text.
    Text,
    /// One of these texts.
    OneOf(Vec<&'a str>),
    /// JSON.
    Json(Value),
}

/// Whether all tools can be called so.
pub fn can_write(tools: &[Tool]) -> bool {
    tools.iter().all(|tool| {
        let root = tool.schema.as_object().expect("parameters are an object");
        let properties = properties(&tool.schema);
        root.keys().all(|keyword| AROUND.contains(&keyword.as_str()))
            && properties.clone().count() <= PARAMETERS_MAX
            && required(&tool.schema).all(|name| properties.clone().any(|(known, _)| known == name))
            && properties.clone().all(|(name, schema)| {
                !name.is_empty()
                    && !name.contains(['>', '\n'])
                    && name.len() <= 64
                    && written(schema, &tool.schema).is_some()
            })
    })
}

/// Adds the rule for the arguments of a tool.
pub fn arguments(lark: &mut Lark, tool: &Tool, rule: &str) {
    let mut row = Vec::new();
    for (index, (name, schema)) in properties(&tool.schema).enumerate() {
        let parameter = format!("{rule}_{index}");
        let is_required = required(&tool.schema).any(|required| required == name);
        row.push(format!("{parameter}{}", if is_required { "" } else { "?" }));
        let begin = literal(&format!("<parameter={name}>\n"));
        let value = format!("{parameter}_value");
        let end = literal(&format!("\n{END}\n"));
        match written(schema, &tool.schema).expect("it can be written") {
            Written::Text => {
                lark.rule(&parameter, &format!("{begin} {value} \"\\n\""));
                lark.text_up_to(&value, END);
            }
            Written::OneOf(texts) => {
                let texts: Vec<String> = texts.into_iter().map(literal).collect();
                lark.rule(&parameter, &format!("{begin} ({}) {end}", texts.join(" | ")));
            }
            Written::Json(schema) => {
                lark.rule(&parameter, &format!("{begin} {value} {end}"));
                lark.json(&value, &schema);
            }
        }
    }
    let row = if row.is_empty() { "\"\"".to_owned() } else { row.join(" ") };
    lark.rule(rule, &row);
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> + Clone {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// `None`: it cannot be written so.
fn written<'a>(schema: &'a Value, root: &'a Value) -> Option<Written<'a>> {
    let kinds = Kinds::of_schema(schema, root, KINDS_DEPTH_MAX);
    let target = resolved(schema, root)?;
    if !kinds.has(Kinds::TEXT) {
        return has_known_references(schema).then(|| Written::Json(with_definitions(schema, root)));
    }
    let fields = target.as_object()?;
    if kinds == Kinds::TEXT {
        let texts = match (fields.get("enum"), fields.get("const")) {
            (Some(values), None) => {
                values.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?
            }
            (None, Some(value)) => vec![value.as_str()?],
            (Some(_), Some(_)) => return None,
            (None, None) => return is_type_alone(fields).then_some(Written::Text),
        };
        let is_plain = |text: &&str| {
            !text.is_empty()
                && !text.starts_with('\n')
                && !text.ends_with('\n')
                && !text.contains(END)
        };
        let has_more =
            fields.keys().any(|keyword| !["type", "enum", "const"].contains(&keyword.as_str()));
        return (!has_more && texts.iter().all(is_plain)).then_some(Written::OneOf(texts));
    }
    // a text, or what it reads like: nothing but the kinds may be asked of it
    let alternatives = fields.get("anyOf").and_then(Value::as_array).filter(|_| fields.len() == 1);
    let is_free = match alternatives {
        Some(all) => all.iter().all(|one| one.as_object().is_some_and(is_type_alone)),
        None => is_type_alone(fields),
    };
    (is_free && (Kinds::PLAIN.has(kinds) || fields.is_empty())).then_some(Written::Text)
}

fn is_type_alone(fields: &Map<String, Value>) -> bool {
    fields.keys().all(|keyword| keyword == "type")
}

/// The schema that a reference means.
fn resolved<'a>(mut schema: &'a Value, root: &'a Value) -> Option<&'a Value> {
    for _ in 0..KINDS_DEPTH_MAX {
        let Some(target) = schema.get("$ref") else { return Some(schema) };
        if schema.as_object()?.len() > 1 {
            return None;
        }
        schema = root.pointer(target.as_str()?.strip_prefix('#')?)?;
    }
    None
}

/// Whether all references lead to the definitions, which go along with the schema.
fn has_known_references(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.iter().all(|(keyword, value)| match value.as_str() {
            Some(target) if keyword == "$ref" => {
                target.starts_with("#/$defs/") || target.starts_with("#/definitions/")
            }
            _ => has_known_references(value),
        }),
        Value::Array(items) => items.iter().all(has_known_references),
        _ => true,
    }
}

fn with_definitions(schema: &Value, root: &Value) -> Value {
    let mut fields = schema.as_object().cloned().unwrap_or_default();
    for keyword in ["$defs", "definitions", "$schema", "x-guidance"] {
        if let Some(value) = root.get(keyword) {
            fields.insert(keyword.to_owned(), value.clone());
        }
    }
    fields.into()
}
