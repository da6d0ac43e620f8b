//! Hermes: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.
//!
//! Source: NousResearch/Hermes-Function-Calling, README; the `tool_use` templates of Hermes 2
//! Pro, Hermes 3 and Qwen 2.5.

use super::call_list::CallList;
use super::call_object::CallObject;
use super::json_scan::is_space;
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[Open { marker: "<tool_call>", is_first: false, dialect: || Box::new(Json::Begin) }],
    layout: &[],
    closers: &["</tool_call>"],
};

/// One object, or an array of them.
#[derive(Debug)]
pub enum Json {
    /// Before the value.
    Begin,
    /// An object.
    Object(CallObject),
    /// An array.
    List(CallList),
}

impl Dialect for Json {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        *self = match self {
            Self::Object(object) => return object.push(letter, sink),
            Self::List(list) => return list.push(letter, sink),
            Self::Begin if is_space(letter) => return Step::More,
            Self::Begin if letter == '{' => Self::Object(CallObject::begun()),
            Self::Begin if letter == '[' => Self::List(CallList::begun()),
            Self::Begin => return Step::Broken,
        };
        Step::More
    }
}
