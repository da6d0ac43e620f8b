//! A call as a JSON object: `{"name": ..., "arguments": {...}}`, in any order.

use super::json_scan::{JsonScan, Taken, is_space};
use super::sink::{NoCall, Sink};
use super::tagged::Step;

/// What the arguments are when there are none.
const NO_ARGUMENTS: &str = "{}";

/// A call that is being read.
#[derive(Debug, Default)]
pub struct CallObject {
    at: At,
    /// The text of the key or value that is being read.
    text: String,
    name: Option<String>,
    arguments: Option<Arguments>,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Begin,
    KeyOrEnd,
    Key,
    InKey(JsonScan),
    Colon(Field),
    Value(Field),
    InValue(Field, JsonScan),
    CommaOrEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Name,
    Arguments,
    /// What some models write beside: ids and types.
    Other,
}

#[derive(Debug)]
enum Arguments {
    /// They came before the name, or as a text.
    Kept(String),
    /// They went to the sink.
    Delivered,
}

impl CallObject {
    /// After the `{`.
    pub fn begun() -> Self {
        Self { at: At::KeyOrEnd, ..Self::default() }
    }

    /// Takes a letter. [`Step::Closed`] comes with the last brace; the call is finished then.
    pub fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        match std::mem::take(&mut self.at) {
            At::InKey(scan) => self.key(scan, letter),
            At::InValue(field, scan) => self.value(field, scan, letter, sink),
            at if is_space(letter) => {
                self.at = at;
                Step::More
            }
            at => self.structure(at, letter, sink),
        }
    }

    fn structure(&mut self, at: At, letter: char, sink: &mut Sink) -> Step {
        self.at = match (at, letter) {
            (At::Begin, '{') => At::KeyOrEnd,
            (At::KeyOrEnd | At::Key, '"') => {
                self.text.clear();
                return self.key(JsonScan::default(), letter);
            }
            (At::Colon(field), ':') => At::Value(field),
            (At::Value(field), _) => {
                self.text.clear();
                if field == Field::Arguments && letter == '{' && self.begin_arguments(sink).is_err()
                {
                    return Step::Broken;
                }
                return self.value(field, JsonScan::default(), letter, sink);
            }
            (At::CommaOrEnd, ',') => At::Key,
            (At::CommaOrEnd, '}') => return self.close(sink),
            _ => return Step::Broken,
        };
        Step::More
    }

    fn key(&mut self, mut scan: JsonScan, letter: char) -> Step {
        match scan.push(letter, &mut self.text) {
            Ok(Taken::Last) => {
                let field = match self.text.as_str() {
                    r#""name""# | r#""function""# | r#""tool_name""# if self.name.is_none() => {
                        Field::Name
                    }
                    r#""arguments""# | r#""parameters""# if self.arguments.is_none() => {
                        Field::Arguments
                    }
                    r#""id""# | r#""type""# | r#""tool_call_id""# => Field::Other,
                    _ => return Step::Broken,
                };
                self.at = At::Colon(field);
            }
            Ok(_) if self.text.len() <= r#""tool_call_id""#.len() => self.at = At::InKey(scan),
            _ => return Step::Broken,
        }
        Step::More
    }

    /// Arguments whose call has its name are delivered as they come.
    fn begin_arguments(&mut self, sink: &mut Sink) -> Result<(), NoCall> {
        if let Some(name) = &self.name {
            sink.start_call(name)?;
            self.arguments = Some(Arguments::Delivered);
        }
        Ok(())
    }

    fn value(&mut self, field: Field, mut scan: JsonScan, letter: char, sink: &mut Sink) -> Step {
        let Ok(taken) = scan.push(letter, &mut self.text) else { return Step::Broken };
        if field == Field::Arguments && matches!(self.arguments, Some(Arguments::Delivered)) {
            sink.arguments(&self.text);
            self.text.clear();
        }
        match taken {
            Taken::More => {
                self.at = At::InValue(field, scan);
                let is_long = field == Field::Name && self.text.len() > sink.limits.name_bytes_max;
                if is_long { Step::Broken } else { Step::More }
            }
            Taken::Last => self.value_ended(field, sink),
            Taken::Before => match self.value_ended(field, sink) {
                Step::More => self.push(letter, sink),
                step => step,
            },
        }
    }

    fn value_ended(&mut self, field: Field, sink: &Sink) -> Step {
        self.at = At::CommaOrEnd;
        match field {
            Field::Name => {
                let name: Option<String> = serde_json::from_str(&self.text).ok();
                if !name.as_ref().is_some_and(|name| sink.tools.has(name)) {
                    return Step::Broken;
                }
                self.name = name;
            }
            Field::Arguments if self.arguments.is_none() => match arguments(&self.text) {
                Some(text) => self.arguments = Some(Arguments::Kept(text)),
                None => return Step::Broken,
            },
            Field::Arguments | Field::Other => {}
        }
        Step::More
    }

    fn close(&mut self, sink: &mut Sink) -> Step {
        let Some(name) = self.name.take() else { return Step::Broken };
        let whole = match self.arguments.take() {
            Some(Arguments::Delivered) => {
                sink.finish_call();
                Ok(())
            }
            Some(Arguments::Kept(text)) => sink.whole_call(&name, &text),
            None => sink.whole_call(&name, NO_ARGUMENTS),
        };
        if whole.is_ok() { Step::Closed } else { Step::Broken }
    }
}

/// Arguments that came as an object, as a text with an object in it, or as `null`.
fn arguments(text: &str) -> Option<String> {
    match text.chars().next()? {
        '{' => Some(text.to_owned()),
        '"' => {
            let inner: String = serde_json::from_str(text).ok()?;
            let is_object = serde_json::from_str::<serde_json::Map<_, _>>(&inner).is_ok();
            is_object.then_some(inner)
        }
        _ => (text == "null").then(|| NO_ARGUMENTS.to_owned()),
    }
}
