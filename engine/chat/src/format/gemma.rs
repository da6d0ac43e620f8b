//! Gemma 2 and 3: calls in a block, ```` ```tool_code ```` with Python or ```` ```json ````, or
//! JSON alone.
//!
//! Source: Google's guide "Function calling with Gemma": the prompt asks for one of these
//! forms, for the models have no tokens for it.

use super::call_object::CallObject;
use super::hermes::Json;
use super::python_call::{PythonCall, begins_name};
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[
        Open { marker: "```tool_code", is_first: false, dialect: || Box::new(Code::Between) },
        Open { marker: "```tool_call", is_first: false, dialect: || Box::new(Json::Begin) },
        Open { marker: "```json", is_first: false, dialect: || Box::new(Json::Begin) },
        Open { marker: "{", is_first: true, dialect: || Box::new(Bare(CallObject::begun())) },
    ],
    layout: &[],
    closers: &["```"],
};

/// An object whose brace was the marker.
#[derive(Debug)]
struct Bare(CallObject);

impl Dialect for Bare {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        self.0.push(letter, sink)
    }
}

/// Python code that only calls.
#[derive(Debug)]
enum Code {
    /// Before the first call.
    Between,
    Call(PythonCall),
    /// After a call.
    After,
}

impl Dialect for Code {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        *self = match self {
            Self::Call(call) => match call.push(letter, sink) {
                Step::Closed => Self::After,
                step => return step,
            },
            // one call a line, or a list of them
            Self::Between | Self::After
                if letter.is_ascii_whitespace() || ",;[]".contains(letter) =>
            {
                return Step::More;
            }
            Self::Between | Self::After if begins_name(letter) => {
                let mut call = PythonCall::default();
                let step = call.push(letter, sink);
                *self = Self::Call(call);
                return step;
            }
            Self::Between => return Step::Broken,
            Self::After => return Step::ClosedBefore,
        };
        Step::More
    }

    fn end(&mut self, _: &mut Sink) -> bool {
        matches!(self, Self::After)
    }
}
