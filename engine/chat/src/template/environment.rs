//! The Jinja dialect that Hugging Face's templates are written in
//! (transformers/utils/chat_template_utils.py, `_compile_jinja_template`).

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::error::Exception;
use super::{depth, python};

/// How deep macros and recursive loops may go.
const RECURSION_MAX: usize = 64;
/// Longest number in a format string: widths and precisions are allocated.
const FORMAT_DIGITS_MAX: usize = 3;

/// An environment without templates. `fuel` is for each rendering.
pub fn new(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(whitespace());
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_debug(false);
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_formatter(python::format);
    environment.set_unknown_method_callback(call_method);
    environment.add_filter("tojson", python::to_json);
    environment.add_filter("string", python::to_string);
    environment.add_filter("kept", depth::kept);
    environment.add_filter("kept_member", depth::kept_member);
    environment.add_function("raise_exception", raise);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment
}

/// As `trim_blocks` and `lstrip_blocks` in Jinja.
fn whitespace() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    syntax.build().expect("the delimiters are the usual ones")
}

/// As in Jinja, where nothing can be iterated over but `none` cannot.
fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

/// As in Jinja, where whatever has a length and items is one.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Map, Seq, String, Undefined};
    matches!(value.kind(), String | Seq | Map | Undefined)
}

fn raise(message: String, _: Kwargs) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, "raise_exception was called");
    Err(error.with_source(Exception(message)))
}

/// Python's methods of strings, lists and dictionaries.
fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let ("format", Some(pattern)) = (method, value.as_str()) {
        check_format(pattern)?;
    }
    unknown_method_callback(state, value, method, arguments)
}

/// `str.format` allocates what its widths ask for, before any fuel is charged for it.
fn check_format(pattern: &str) -> Result<(), Error> {
    let mut digits = 0;
    let mut depth = 0;
    for letter in pattern.chars() {
        digits = if letter.is_ascii_digit() { digits + 1 } else { 0 };
        match letter {
            '{' => depth += 1,
            '}' => depth = 0,
            _ => {}
        }
        // a field within a field is a width from data
        if (depth > 0 && digits > FORMAT_DIGITS_MAX) || depth > 2 {
            let message = "format string with a width that is too large or comes from data";
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
    }
    Ok(())
}
