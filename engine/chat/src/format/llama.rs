//! Llama 3 JSON: `{"name": ..., "parameters": {...}}`, several with `;` between them, and also
//! after `<|python_tag|>`.
//!
//! Source: Meta's model cards and prompt formats of Llama 3.1 and 3.2. What follows the tag
//! and is no JSON is code for an interpreter, which stays content.

use super::call_object::CallObject;
use super::hermes::Json;
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[
        Open { marker: "<|python_tag|>", is_first: false, dialect: || Box::new(Json::Begin) },
        Open { marker: "{", is_first: true, dialect: || Box::new(Bare(CallObject::begun())) },
    ],
    layout: &[],
    closers: &[";", ","],
};

/// An object whose brace was the marker.
#[derive(Debug)]
struct Bare(CallObject);

impl Dialect for Bare {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        self.0.push(letter, sink)
    }
}
