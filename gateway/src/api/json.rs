//! JSON of strangers: one reading, no ambiguity, and a bound on everything.
//!
//! Two parsers that disagree about a body are how policies are walked around, so a duplicate
//! key is an error here, not "the last one wins".

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and arrays may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values a body may hold: a short text can otherwise become a large tree.
pub const VALUES_MAX: usize = 250_000;

/// Why a body is not the JSON that we take. The message may be shown to clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// JSON is UTF-8 (RFC 8259, section 8.1).
    #[error("the body is not valid UTF-8: byte {at} begins no character")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// Not JSON, or JSON that means two things.
    #[error("the body is not usable JSON: {0}")]
    Malformed(String),
}

/// Reads one JSON value and nothing after it.
pub fn parse(body: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
    let left = Cell::new(VALUES_MAX);
    let mut reader = serde_json::Deserializer::from_str(text);
    Bounded { depth: 0, left: &left }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| JsonError::Malformed(error.to_string()))
}

/// Builds a [`Value`] and counts while it does.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl Bounded<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!("more than {VALUES_MAX} values")));
        };
        self.left.set(left);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("key {shown:?} occurs twice")));
            }
            let value = entries.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> String {
        parse(body).map_or_else(|error| error.to_string(), |value| value.to_string())
    }

    #[test]
    fn reads_what_serde_json_reads() {
        let text = r#"{"b":[1,-2,0.5,true,null,"\u00e9\ud83d\ude00"],"a":{}}"#;
        assert_eq!(parse(text.as_bytes()), Ok(serde_json::from_str(text).expect("valid")));
    }

    #[test]
    fn says_where_and_why_a_body_is_refused() {
        let table: &[(&[u8], &str)] = &[
            (b"", "the body is not usable JSON: EOF while parsing a value at line 1 column 0"),
            (b"{\n  \"a\" 1}", "the body is not usable JSON: expected `:` at line 2 column 7"),
            (
                b"{\"a\":1,\"a\":2}",
                "the body is not usable JSON: key \"a\" occurs twice at line 1 column 10",
            ),
            (
                b"{\"a\":{\"b\":1,\"\\u0062\":2}}",
                "the body is not usable JSON: key \"b\" occurs twice at line 1 column 20",
            ),
            (b"\"\xff\"", "the body is not valid UTF-8: byte 1 begins no character"),
            (b"NaN", "the body is not usable JSON: expected value at line 1 column 1"),
            (b"1e999", "the body is not usable JSON: number out of range at line 1 column 5"),
            (b"{} {}", "the body is not usable JSON: trailing characters at line 1 column 4"),
            (
                b"\"\\ud800\"",
                "the body is not usable JSON: unexpected end of hex escape at line 1 column 8",
            ),
        ];
        for (body, expected) in table {
            assert_eq!(message(body), *expected);
        }
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(message(nested(DEPTH_MAX + 1).as_bytes()).contains("deeper than 64 levels"));
        assert!(message("[".repeat(1 << 20).as_bytes()).contains("deeper than 64 levels"));
        // the array itself is a value too
        let array = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert!(parse(array(VALUES_MAX).as_bytes()).is_ok());
        assert!(message(array(VALUES_MAX + 1).as_bytes()).contains("more than 250000 values"));
    }
}
