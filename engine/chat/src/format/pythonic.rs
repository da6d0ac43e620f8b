//! Pythonic: `[f(a=1), g(b='x')]`, in Llama 4 also between `<|python_start|>` and
//! `<|python_end|>`.
//!
//! Source: Meta's prompt formats of Llama 3.2 and 4; the answers of the Berkeley
//! Function-Calling Leaderboard.

use super::python_call::PythonCall;
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[Open { marker: "[", is_first: true, dialect: || Box::new(Calls::default()) }],
    layout: &["<|python_start|>"],
    closers: &["<|python_end|>"],
};

#[derive(Debug, Default)]
enum Calls {
    #[default]
    Begin,
    Call(PythonCall),
    CommaOrEnd,
    /// After a comma, which Python allows after the last call, too.
    CallOrEnd,
}

impl Dialect for Calls {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        *self = match self {
            Self::Call(call) => match call.push(letter, sink) {
                Step::Closed => Self::CommaOrEnd,
                step => return step,
            },
            _ if letter.is_ascii_whitespace() => return Step::More,
            Self::CommaOrEnd if letter == ',' => Self::CallOrEnd,
            Self::CommaOrEnd | Self::CallOrEnd if letter == ']' => return Step::Closed,
            Self::CommaOrEnd => return Step::Broken,
            Self::Begin | Self::CallOrEnd => {
                let mut call = PythonCall::default();
                let step = call.push(letter, sink);
                *self = Self::Call(call);
                return step;
            }
        };
        Step::More
    }

    fn end(&mut self, _: &mut Sink) -> bool {
        matches!(self, Self::CommaOrEnd | Self::CallOrEnd)
    }
}
