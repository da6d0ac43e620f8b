//! Our own format, for models that were not trained to call tools:
//! `{"tool_calls": [{"name": ..., "arguments": {...}}]}`.
//!
//! A grammar forces it (see `crate::grammar`), so that any model can call tools.

use super::call_list::CallList;
use super::json_scan::is_space;
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[Open { marker: "{", is_first: true, dialect: || Box::new(Wrapper::default()) }],
    layout: &[],
    closers: &[],
};

/// The only key.
const KEY: &str = r#""tool_calls""#;

#[derive(Debug)]
enum Wrapper {
    /// What is left of the key.
    Key(&'static str),
    Colon,
    Calls(CallList),
    End,
}

impl Default for Wrapper {
    fn default() -> Self {
        Self::Key(KEY)
    }
}

impl Dialect for Wrapper {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        *self = match self {
            Self::Calls(calls) => match calls.push(letter, sink) {
                Step::Closed => Self::End,
                step => return step,
            },
            Self::Key(rest) if *rest == KEY && is_space(letter) => return Step::More,
            Self::Key(rest) => match rest.strip_prefix(letter) {
                Some("") => Self::Colon,
                Some(rest) => Self::Key(rest),
                None => return Step::Broken,
            },
            Self::Colon | Self::End if is_space(letter) => return Step::More,
            Self::Colon if letter == ':' => Self::Calls(CallList::default()),
            Self::End if letter == '}' => return Step::Closed,
            Self::Colon => return Step::Broken,
            Self::End => return Step::ClosedBefore,
        };
        Step::More
    }

    fn end(&mut self, _: &mut Sink) -> bool {
        matches!(self, Self::End)
    }
}
