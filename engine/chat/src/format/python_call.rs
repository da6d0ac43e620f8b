//! Reads calls as Python writes them: `f(a=1, b='x')`.

use super::json_scan::push_escaped;
use super::python_value::{PythonValue, Taken};
use super::sink::Sink;
use super::tagged::Step;

/// One call that is being read. Arguments have to be named: their order says nothing to JSON.
#[derive(Debug, Default)]
pub struct PythonCall {
    at: At,
    /// `print(f())`: how many parentheses to close after the call.
    wrappers: usize,
    has_arguments: bool,
    /// The names of the arguments so far.
    keys: Vec<String>,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Begin,
    Name(String),
    KeyOrEnd,
    Key(String),
    Equals,
    Value(PythonValue),
    CommaOrEnd,
    /// The call is finished, its wrapper is not.
    Wrapper,
}

impl PythonCall {
    /// Takes a letter. [`Step::Closed`] comes with the last parenthesis; the call is finished
    /// then.
    pub fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        match std::mem::take(&mut self.at) {
            At::Value(value) => self.value(value, letter, sink),
            At::Name(name) => self.name(name, letter, sink),
            At::Key(key) => self.key(key, letter, sink),
            at if letter.is_ascii_whitespace() => {
                self.at = at;
                Step::More
            }
            at => self.structure(&at, letter, sink),
        }
    }

    fn structure(&mut self, at: &At, letter: char, sink: &mut Sink) -> Step {
        self.at = match (at, letter) {
            (At::Begin, _) if begins_name(letter) => At::Name(letter.into()),
            (At::KeyOrEnd, _) if begins_name(letter) => At::Key(letter.into()),
            (At::KeyOrEnd | At::CommaOrEnd, ')') => {
                sink.arguments(if self.has_arguments { "}" } else { "{}" });
                sink.finish_call();
                return self.close();
            }
            (At::Wrapper, ')') => {
                self.wrappers -= 1;
                return self.close();
            }
            (At::Equals, '=') => At::Value(PythonValue::default()),
            (At::CommaOrEnd, ',') => At::KeyOrEnd,
            _ => return Step::Broken,
        };
        Step::More
    }

    fn close(&mut self) -> Step {
        self.at = At::Wrapper;
        if self.wrappers == 0 { Step::Closed } else { Step::More }
    }

    fn name(&mut self, mut name: String, letter: char, sink: &mut Sink) -> Step {
        match letter {
            '(' if sink.tools.has(&name) => {
                if sink.start_call(&name).is_err() {
                    return Step::Broken;
                }
                self.at = At::KeyOrEnd;
            }
            '(' if name == "print" && self.wrappers == 0 => {
                self.wrappers += 1;
                self.at = At::Begin;
            }
            _ if continues_name(letter) && name.len() < sink.limits.name_bytes_max => {
                name.push(letter);
                self.at = At::Name(name);
            }
            _ => return Step::Broken,
        }
        Step::More
    }

    fn key(&mut self, mut key: String, letter: char, sink: &mut Sink) -> Step {
        if (begins_name(letter) || letter.is_ascii_digit())
            && key.len() < sink.limits.name_bytes_max
        {
            key.push(letter);
            self.at = At::Key(key);
            return Step::More;
        }
        // what is given twice is given once in JSON: which one would be a guess
        let is_full = self.keys.len() >= sink.limits.arguments_max;
        if is_full || self.keys.contains(&key) || !(letter == '=' || letter.is_ascii_whitespace()) {
            return Step::Broken;
        }
        let mut text = String::from(if self.has_arguments { ", \"" } else { "{\"" });
        key.chars().for_each(|letter| push_escaped(letter, &mut text));
        text.push_str("\": ");
        sink.arguments(&text);
        self.has_arguments = true;
        self.keys.push(key);
        self.at = if letter == '=' { At::Value(PythonValue::default()) } else { At::Equals };
        Step::More
    }

    fn value(&mut self, mut value: PythonValue, letter: char, sink: &mut Sink) -> Step {
        let mut text = String::new();
        let Ok(taken) = value.push(letter, &mut text) else { return Step::Broken };
        sink.arguments(&text);
        self.at = if taken == Taken::More { At::Value(value) } else { At::CommaOrEnd };
        if taken == Taken::Before { self.push(letter, sink) } else { Step::More }
    }
}

/// Whether a letter begins a Python name.
pub fn begins_name(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

/// Whether a tool's name goes on with a letter: modules have dots in theirs, and clients'
/// tools have dashes.
fn continues_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-')
}
