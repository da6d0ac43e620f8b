//! Values as Python writes them: templates are tried out with Python's Jinja, and models are
//! trained on what came out.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};

use crate::marks;

/// Deepest value that is written. What templates can build is bounded below that.
const DEPTH_MAX: usize = 256;

/// What `{{ value }}` writes: Python's `str(value)`.
pub fn format(output: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return output.write_str(text).map_err(Error::from);
    }
    let mut text = String::new();
    write_repr(&mut text, value, DEPTH_MAX)?;
    output.write_str(&text).map_err(Error::from)
}

/// Python's `str`.
pub fn to_string(value: Value) -> Result<Value, Error> {
    if value.as_str().is_some() {
        return Ok(value);
    }
    let mut text = String::new();
    write_repr(&mut text, &value, DEPTH_MAX)?;
    Ok(Value::from(text))
}

/// Python's `json.dumps`, with the arguments that transformers gives to `tojson`. Unlike
/// Jinja's own filter it leaves `<` and `>` as they are.
pub fn to_json(state: &State, value: Value, arguments: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = arguments.get("indent")?;
    let separators: Option<Vec<String>> = arguments.get("separators")?;
    let (between, after_key) = match (separators.as_deref(), indent) {
        (Some([between, after_key]), _) => (between.as_str(), after_key.as_str()),
        (Some(_), _) => return Err(refusal("separators are two texts")),
        (None, Some(_)) => (",", ": "),
        (None, None) => (", ", ": "),
    };
    let mut json = Json {
        out: String::new(),
        indent: indent.map(|indent| indent.min(16)),
        between,
        after_key,
        is_ascii: arguments.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorts_keys: arguments.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    arguments.assert_all_used()?;
    json.write(&value, 0)?;
    // the text itself is charged like any filter's; this is for having walked the value
    state.consume_fuel(json.out.len() as u64 / 64)?;
    Ok(Value::from(json.out))
}

struct Json<'a> {
    out: String,
    indent: Option<usize>,
    between: &'a str,
    after_key: &'a str,
    is_ascii: bool,
    sorts_keys: bool,
}

impl Json<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(refusal("a value is nested too deep"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => self.write_text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.write_list(value, depth)?,
            ValueKind::Map => self.write_object(value, depth)?,
            kind => return Err(refusal(format!("{kind} is not JSON serializable"))),
        }
        Ok(())
    }

    fn write_list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        let mut is_empty = true;
        for item in value.try_iter()? {
            self.separate(&mut is_empty, depth + 1);
            self.write(&item, depth + 1)?;
        }
        self.close(']', is_empty, depth);
        Ok(())
    }

    fn write_object(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sorts_keys {
            keys.sort();
        }
        self.out.push('{');
        let mut is_empty = true;
        for key in keys {
            self.separate(&mut is_empty, depth + 1);
            match key.as_str() {
                Some(text) => self.write_text(text),
                None => self.write_text(&key.to_string()),
            }
            self.out.push_str(self.after_key);
            self.write(&value.get_item(&key)?, depth + 1)?;
        }
        self.close('}', is_empty, depth);
        Ok(())
    }

    fn separate(&mut self, is_first: &mut bool, depth: usize) {
        if !std::mem::take(is_first) {
            self.out.push_str(self.between);
        }
        self.break_line(depth);
    }

    fn close(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.break_line(depth);
        }
        self.out.push(bracket);
    }

    fn break_line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_text(&mut self, text: &str) {
        self.out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                ..' ' => self.escape(letter),
                // markers have to stay what they are
                '\u{7f}'.. if self.is_ascii && !marks::is_candidate(letter) => {
                    self.escape(letter);
                }
                _ => self.out.push(letter),
            }
        }
        self.out.push('"');
    }

    fn escape(&mut self, letter: char) {
        for unit in letter.encode_utf16(&mut [0; 2]) {
            write!(self.out, "\\u{unit:04x}").expect("a string takes everything");
        }
    }
}

/// Python's `repr`, but `str` at the top.
fn write_repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        return Err(refusal("a value is nested too deep"));
    }
    match value.kind() {
        ValueKind::Undefined => {}
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, &item, depth - 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, &key, depth - 1)?;
                out.push_str(": ");
                write_repr(out, &value.get_item(&key)?, depth - 1)?;
            }
            out.push('}');
        }
        _ => write!(out, "{value}").expect("a string takes everything"),
    }
    Ok(())
}

fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    out.push(quote);
}

/// Python writes floats with their shortest digits, and with an exponent below 1e-4 and from
/// 1e16 on.
fn number(value: &Value) -> String {
    let float = match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float,
        _ => return value.to_string(),
    };
    if !float.is_finite() {
        return match float {
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            _ => "NaN".to_owned(),
        };
    }
    let size = float.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{float:?}");
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').expect("it was asked for");
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

fn refusal(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
