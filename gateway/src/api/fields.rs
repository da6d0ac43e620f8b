//! The fields of one JSON object, read leniently where clients differ and named exactly where
//! they are wrong.

use engine_api::OutOfRange;
use serde_json::{Map, Value};

/// A request that cannot be understood, or asks for what we do not do. Always status 400.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Where, for example `messages[0].role`; `None` is the whole body.
    pub param: Option<String>,
    /// OpenAI's `code`.
    pub code: &'static str,
    /// What was expected and what came.
    pub message: String,
}

impl Invalid {
    /// A field with a value that it cannot have.
    pub fn value(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let param = param.into();
        let message = format!("`{param}` {message}");
        Self { param: Some(param), code: "invalid_value", message }
    }

    /// A field of another type than it can have.
    pub fn kind(param: impl Into<String>, expected: &str, got: &Value) -> Self {
        let message = format!("must be {expected}, got {}", kind_of(got));
        Self { code: "invalid_type", ..Self::value(param, message) }
    }

    /// A field that has to be there.
    pub fn missing(param: impl Into<String>) -> Self {
        Self { code: "missing_required_parameter", ..Self::value(param, "is required") }
    }

    /// Something that OpenAI's API has and this gateway does not.
    pub fn unsupported(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { code: "unsupported_parameter", ..Self::value(param, message) }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What an integer of a request may be held in.
pub trait Integer: Sized {
    /// The lowest.
    const LOW: i64;
    /// The highest.
    const HIGH: i64;
    /// The one nearest to a whole number.
    fn near(number: f64) -> Self;
}

impl Integer for u32 {
    const LOW: i64 = 0;
    const HIGH: i64 = u32::MAX as i64;

    fn near(number: f64) -> Self {
        // a cast to an integer saturates
        number as Self
    }
}

impl Integer for i32 {
    const LOW: i64 = i32::MIN as i64;
    const HIGH: i64 = i32::MAX as i64;

    fn near(number: f64) -> Self {
        number as Self
    }
}

impl Integer for i64 {
    const LOW: i64 = i64::MIN;
    const HIGH: i64 = i64::MAX;

    fn near(number: f64) -> Self {
        number as Self
    }
}

/// An object with the path that leads to it.
pub struct Fields<'a> {
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// `at` is the path, empty for the body itself. A key that differs from one of `known`
    /// only in case is refused: it would be ignored here and might be read elsewhere.
    pub fn new(at: String, value: &'a Value, known: &[&str]) -> Result<Self, Invalid> {
        let Value::Object(map) = value else {
            let what = kind_of(value);
            return Err(match at.as_str() {
                "" => Invalid {
                    param: None,
                    code: "invalid_type",
                    message: format!("the body must be a JSON object, got {what}"),
                },
                _ => Invalid::kind(at, "an object", value),
            });
        };
        let fields = Self { at, map };
        for key in map.keys() {
            let twin = known.iter().find(|name| name.eq_ignore_ascii_case(key) && **name != *key);
            if let Some(name) = twin {
                return Err(Invalid::value(fields.path(key), format!("must be written `{name}`")));
            }
        }
        Ok(fields)
    }

    /// The path of a field.
    pub fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// The value; null is the same as absent, as it is in OpenAI's API.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Invalid> {
        self.read(name, "a string", Value::as_str)
    }

    /// A string that has to be there.
    pub fn required_text(&self, name: &str) -> Result<&'a str, Invalid> {
        self.text(name)?.ok_or_else(|| Invalid::missing(self.path(name)))
    }

    /// `false` where absent.
    pub fn flag(&self, name: &str) -> Result<bool, Invalid> {
        Ok(self.read(name, "a boolean", Value::as_bool)?.unwrap_or(false))
    }

    /// An array.
    pub fn array(&self, name: &str) -> Result<Option<&'a [Value]>, Invalid> {
        self.read(name, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// A number as a sampler takes it.
    pub fn number(&self, name: &str) -> Result<Option<f32>, Invalid> {
        Ok(self.read(name, "a number", Value::as_f64)?.map(|number| number as f32))
    }

    /// An integer, judged by the type that it becomes. `16.0` is one too: some languages have no
    /// integers. One that `N` cannot hold is judged as the nearest that it can, so that the
    /// message names the range of the field.
    pub fn integer<N: Integer, T>(
        &self,
        name: &str,
        check: impl FnOnce(N) -> Result<T, OutOfRange>,
    ) -> Result<Option<T>, Invalid> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|number| number.fract() == 0.0);
        let Some(number) = number else {
            return Err(Invalid::kind(self.path(name), "an integer", value));
        };
        let refused =
            |range: &str| Invalid::value(self.path(name), format!("must be {range}, got {value}"));
        let taken = check(N::near(number)).map_err(|range| refused(range.expected))?;
        if number < N::LOW as f64 {
            return Err(refused(&format!("at least {}", N::LOW)));
        }
        if number > N::HIGH as f64 {
            return Err(refused(&format!("at most {}", N::HIGH)));
        }
        Ok(Some(taken))
    }

    /// A count without a type of its own.
    pub fn count(&self, name: &str) -> Result<Option<u32>, Invalid> {
        self.integer(name, Ok)
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Invalid> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match take(value) {
            Some(taken) => Ok(Some(taken)),
            None => Err(Invalid::kind(self.path(name), expected, value)),
        }
    }
}

/// A string, null, nothing, or an array of parts, whose texts `part` reads and which are joined by line
/// ends. `part` is told where each stands.
pub fn joined_text(
    fields: &Fields<'_>,
    name: &str,
    part: fn(String, &Value) -> Result<&str, Invalid>,
) -> Result<Option<String>, Invalid> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .enumerate()
                .map(|(index, value)| part(fields.path(&format!("{name}[{index}]")), value))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Some(texts.join("\n")))
        }
        Some(other) => {
            Err(Invalid::kind(fields.path(name), "a string or an array of text parts", other))
        }
    }
}
