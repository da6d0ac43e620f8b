//! JSON schemas: what can be enforced, and what cannot.
//!
//! llguidance enforces the keywords in [`ENFORCED`]. A keyword that would restrict the answer
//! and is not among them is an error that names it: nothing is silently ignored.

use serde_json::{Map, Value, json};

/// Deepest schema.
const DEPTH_MAX: usize = 64;
/// Longest schema in bytes.
const BYTES_MAX: usize = 256 * 1024;

/// Keywords that hold one schema.
const OF_ONE: [&str; 3] = ["items", "additionalItems", "additionalProperties"];
/// Keywords that hold a list of schemas.
const OF_MANY: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords that hold schemas by name.
const BY_NAME: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Other keywords that are enforced.
const ENFORCED: [&str; 16] = [
    "$ref",
    "const",
    "enum",
    "type",
    "minItems",
    "maxItems",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];
/// Keywords that restrict, and that nothing here can enforce.
const NOT_ENFORCED: [&str; 18] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];
/// Formats that are enforced. Others are annotations, as the standard has it.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// What is wrong with a schema.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemaError {
    /// A keyword that cannot be enforced.
    #[error("`{path}`: the keyword `{keyword}` cannot be enforced; express it otherwise")]
    Keyword {
        /// The keyword.
        keyword: String,
        /// Where it is, with it.
        path: String,
    },
    /// A value that the keyword does not take.
    #[error("`{path}` has to be {expected}")]
    Value {
        /// Where.
        path: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A reference to what is not in the schema.
    #[error("`{path}` refers to `{target}`, which is not in the schema")]
    Reference {
        /// Where.
        path: String,
        /// To what.
        target: String,
    },
    /// Too deep.
    #[error("`{path}` is nested too deep (over {DEPTH_MAX})")]
    TooDeep {
        /// Where.
        path: String,
    },
    /// Too long.
    #[error("`{path}` has {bytes} bytes, at most {BYTES_MAX} are accepted")]
    TooLong {
        /// Which schema.
        path: String,
        /// Its length.
        bytes: usize,
    },
}

/// What becomes of keywords that restrict and cannot be enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strictness {
    /// They are errors.
    Strict,
    /// They are left out: what follows may then not fit all of the schema, as it may not in OpenAI's
    /// API where a tool is not `strict`.
    Lenient,
}

impl Strictness {
    /// Of the definition of a function.
    pub fn of(function: &Value) -> Self {
        match function.get("strict") {
            Some(Value::Bool(true)) => Self::Strict,
            _ => Self::Lenient,
        }
    }
}

/// A schema as a grammar takes it: checked, without annotations, and with the separators that
/// models write.
pub fn prepare(schema: &Value, place: &str, strictness: Strictness) -> Result<Value, SchemaError> {
    let bytes = schema.to_string().len();
    if bytes > BYTES_MAX {
        return Err(SchemaError::TooLong { path: place.to_owned(), bytes });
    }
    let mut out = Reader { root: schema, strictness }.schema(schema, place, DEPTH_MAX)?;
    if out == Value::Bool(true) {
        out = json!({});
    }
    let fields = out.as_object_mut().ok_or_else(|| SchemaError::Value {
        path: place.to_owned(),
        expected: "a schema that something fits",
    })?;
    // spaces without end are an answer without end
    let spaces =
        json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
    fields.insert("x-guidance".into(), spaces);
    Ok(out)
}

/// A tool's parameters: an object.
pub fn object(schema: &Value, place: &str) -> Result<Value, SchemaError> {
    let wrong = |path: String, expected| Err(SchemaError::Value { path, expected });
    let Some(fields) = schema.as_object() else {
        return wrong(place.to_owned(), "a JSON schema, that is, an object");
    };
    let mut fields = fields.clone();
    match fields.get("type") {
        None => drop(fields.insert("type".into(), "object".into())),
        Some(name) if name == "object" => {}
        Some(_) => return wrong(format!("{place}.type"), "`object`"),
    }
    Ok(fields.into())
}

struct Reader<'a> {
    root: &'a Value,
    strictness: Strictness,
}

impl Reader<'_> {
    fn schema(&self, schema: &Value, path: &str, depth: usize) -> Result<Value, SchemaError> {
        let fields = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(fields) => fields,
            _ => return Err(value_error(path, "a schema, that is, an object or a boolean")),
        };
        let Some(depth) = depth.checked_sub(1) else {
            return Err(SchemaError::TooDeep { path: path.to_owned() });
        };
        let mut out = Map::new();
        for (keyword, value) in fields {
            let path = format!("{path}.{keyword}");
            if let Some(value) = self.keyword(keyword, value, &path, depth)? {
                out.insert(keyword.clone(), value);
            }
        }
        Ok(out.into())
    }

    /// `None`: it restricts nothing.
    fn keyword(
        &self,
        keyword: &str,
        value: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Option<Value>, SchemaError> {
        let kept = match keyword {
            // one schema for each place, in drafts before 2020-12
            "items" if value.is_array() => self.many(value, path, depth)?,
            _ if OF_ONE.contains(&keyword) => self.schema(value, path, depth)?,
            _ if OF_MANY.contains(&keyword) => self.many(value, path, depth)?,
            _ if BY_NAME.contains(&keyword) => self.by_name(value, path, depth)?,
            "$ref" => self.reference(value, path)?,
            "pattern" => pattern(value, path)?,
            "multipleOf" => multiple(value, path)?,
            "format" if FORMATS.iter().any(|format| value == format) => value.clone(),
            // `z.record(z.string(), ...)` writes this
            "propertyNames" if allows_all_texts(value) => return Ok(None),
            "uniqueItems" if value == &Value::Bool(false) => return Ok(None),
            "unevaluatedItems" | "unevaluatedProperties" if value == &Value::Bool(true) => {
                return Ok(None);
            }
            _ if ENFORCED.contains(&keyword) => plain(keyword, value, path)?,
            _ if NOT_ENFORCED.contains(&keyword) => {
                if self.strictness == Strictness::Lenient {
                    return Ok(None);
                }
                let (keyword, path) = (keyword.to_owned(), path.to_owned());
                return Err(SchemaError::Keyword { keyword, path });
            }
            "$schema" => value.clone(),
            // annotations, and words that are no keywords
            _ => return Ok(None),
        };
        Ok(Some(kept))
    }

    fn many(&self, list: &Value, path: &str, depth: usize) -> Result<Value, SchemaError> {
        let Some(items) = list.as_array() else {
            return Err(value_error(path, "a list of schemas"));
        };
        let each = items.iter().enumerate();
        each.map(|(index, item)| self.schema(item, &format!("{path}[{index}]"), depth)).collect()
    }

    fn by_name(&self, map: &Value, path: &str, depth: usize) -> Result<Value, SchemaError> {
        let Some(fields) = map.as_object() else {
            return Err(value_error(path, "an object of schemas"));
        };
        let each = fields.iter().map(|(name, item)| {
            Ok((name.clone(), self.schema(item, &format!("{path}.{name}"), depth)?))
        });
        each.collect()
    }

    fn reference(&self, value: &Value, path: &str) -> Result<Value, SchemaError> {
        let Some(target) = value.as_str() else {
            return Err(value_error(path, "a text"));
        };
        // escaped names are read by nobody the same way
        let is_plain = !target.contains(['~', '%']);
        let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        if found.is_none() || !is_plain {
            let (path, target) = (path.to_owned(), target.to_owned());
            return Err(SchemaError::Reference { path, target });
        }
        Ok(value.clone())
    }
}

/// Keywords that hold no schema.
fn plain(keyword: &str, value: &Value, path: &str) -> Result<Value, SchemaError> {
    const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let is_type = |name: &Value| TYPES.iter().any(|known| name == known);
    let (is_right, expected) = match keyword {
        "type" => {
            let is_list = value.as_array().is_some_and(|names| names.iter().all(is_type));
            (is_list || is_type(value), "the name of a JSON type, or a list of such names")
        }
        "enum" => (value.as_array().is_some_and(|values| !values.is_empty()), "a list of values"),
        "required" => {
            let names = value.as_array();
            (names.is_some_and(|names| names.iter().all(Value::is_string)), "a list of names")
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            (value.is_number(), "a number")
        }
        _ if keyword.starts_with("min") || keyword.starts_with("max") => {
            let is_count =
                value.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0);
            (is_count, "a whole number, 0 or more")
        }
        _ => (true, ""),
    };
    if is_right { Ok(value.clone()) } else { Err(value_error(path, expected)) }
}

fn value_error(path: &str, expected: &'static str) -> SchemaError {
    SchemaError::Value { path: path.to_owned(), expected }
}

/// Patterns are matched without ever going back, which look-around and references need.
fn pattern(value: &Value, path: &str) -> Result<Value, SchemaError> {
    let expected = "a regular expression without look-around and references back";
    match value.as_str() {
        Some(text) if is_matched_forwards(text) => Ok(value.clone()),
        _ => Err(value_error(path, expected)),
    }
}

/// Whether a regular expression has neither look-around nor references back.
pub fn is_matched_forwards(text: &str) -> bool {
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = if letter == '\\' { letters.next() } else { None };
        if matches!(escaped, Some('1'..='9' | 'k')) {
            return false;
        }
    }
    !["(?=", "(?!", "(?<=", "(?<!"].iter().any(|look| text.contains(look))
}

fn multiple(value: &Value, path: &str) -> Result<Value, SchemaError> {
    match value.as_f64() {
        Some(number) if number > 0.0 => Ok(value.clone()),
        _ => Err(value_error(path, "a number above 0")),
    }
}

fn allows_all_texts(schema: &Value) -> bool {
    match schema {
        Value::Bool(allows) => *allows,
        Value::Object(fields) => {
            fields.iter().all(|(keyword, value)| keyword == "type" && value == "string")
        }
        _ => false,
    }
}
