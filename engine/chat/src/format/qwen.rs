//! Qwen: Hermes's JSON, or `<function=f><parameter=p>value</parameter></function>`, with or
//! without `<tool_call>` around it.
//!
//! Source: the chat templates of Qwen3 and Qwen3-Coder. The values have no types of their own:
//! what is a text and what is JSON follows from the tool's schema.

use super::hermes::Json;
use super::json_scan::{is_space, push_escaped, read_whole};
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};
use super::tools::Kinds;

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[
        Open { marker: "<tool_call>", is_first: false, dialect: || Box::new(Call::Begin) },
        Open { marker: FUNCTION, is_first: false, dialect: || Box::new(Call::Xml(Xml::default())) },
    ],
    layout: &[],
    closers: &["</tool_call>"],
};

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

/// What is in a `tool_call`.
#[derive(Debug)]
enum Call {
    Begin,
    Json(Json),
    /// What is left of `<function=`.
    Function(&'static str),
    Xml(Xml),
}

impl Dialect for Call {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        *self = match self {
            Self::Json(json) => return json.push(letter, sink),
            Self::Xml(xml) => return xml.push(letter, sink),
            Self::Begin if is_space(letter) => return Step::More,
            Self::Begin if letter == '<' => Self::Function(&FUNCTION[1..]),
            Self::Begin => {
                let mut json = Json::Begin;
                let step = json.push(letter, sink);
                *self = Self::Json(json);
                return step;
            }
            Self::Function(rest) => match rest.strip_prefix(letter) {
                Some("") => Self::Xml(Xml::default()),
                Some(rest) => Self::Function(rest),
                None => return Step::Broken,
            },
        };
        Step::More
    }
}

/// What follows `<function=`.
#[derive(Debug, Default)]
struct Xml {
    at: At,
    /// What came of the name, tag, key or value.
    text: String,
    name: String,
    keys: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    #[default]
    Name,
    /// Before a parameter or the end.
    Tag,
    Key,
    Value,
}

impl Xml {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        if self.at == At::Tag && self.text.is_empty() && is_space(letter) {
            return Step::More;
        }
        self.text.push(letter);
        match self.at {
            At::Name | At::Key if letter != '>' => {
                let is_long = self.text.len() > sink.limits.name_bytes_max;
                if is_long { Step::Broken } else { Step::More }
            }
            At::Name => {
                self.name = self.taken(">");
                self.at = At::Tag;
                if sink.start_call(&self.name).is_ok() { Step::More } else { Step::Broken }
            }
            At::Tag => self.tag(sink),
            At::Key => {
                let key = self.taken(">");
                if self.keys.len() >= sink.limits.arguments_max || self.keys.contains(&key) {
                    return Step::Broken;
                }
                self.keys.push(key);
                self.at = At::Value;
                Step::More
            }
            At::Value if letter == '>' && self.text.ends_with(PARAMETER_END) => {
                let value = self.taken(PARAMETER_END);
                self.argument(&value, sink);
                self.at = At::Tag;
                Step::More
            }
            At::Value => {
                let is_long = self.text.len() > sink.limits.call_bytes_max;
                if is_long { Step::Broken } else { Step::More }
            }
        }
    }

    fn tag(&mut self, sink: &mut Sink) -> Step {
        match self.text.as_str() {
            PARAMETER => {
                self.text.clear();
                self.at = At::Key;
                Step::More
            }
            FUNCTION_END => {
                sink.arguments(if self.keys.is_empty() { "{}" } else { "}" });
                sink.finish_call();
                Step::Closed
            }
            begun if PARAMETER.starts_with(begun) || FUNCTION_END.starts_with(begun) => Step::More,
            _ => Step::Broken,
        }
    }

    /// What was read before `end`.
    fn taken(&mut self, end: &str) -> String {
        let mut text = std::mem::take(&mut self.text);
        text.truncate(text.len() - end.len());
        text
    }

    fn argument(&self, value: &str, sink: &mut Sink) {
        let key = self.keys.last().expect("a value has a key");
        let mut text = String::from(if self.keys.len() > 1 { ", " } else { "{" });
        push_text(key, &mut text);
        text.push_str(": ");
        // the template writes each value on lines of its own
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        match json(value, sink.tools.kinds(&self.name, key)) {
            Some(json) => text.push_str(&json),
            None => push_text(value, &mut text),
        }
        sink.arguments(&text);
    }
}

/// The value as JSON where the schema wants something else than a text.
fn json(value: &str, kinds: Kinds) -> Option<String> {
    let may_be_text = kinds.has(Kinds::TEXT);
    let value = match value.trim() {
        "True" if !may_be_text => "true",
        "False" if !may_be_text => "false",
        "None" if !may_be_text => "null",
        value => value,
    };
    let json = read_whole(value)?;
    let kind = Kinds::of_json(&json);
    // a text in quotes means the quotes
    let is_meant = kinds.has(kind) && kind != Kinds::TEXT;
    (is_meant || !may_be_text).then_some(json)
}

fn push_text(text: &str, out: &mut String) {
    out.push('"');
    text.chars().for_each(|letter| push_escaped(letter, out));
    out.push('"');
}
