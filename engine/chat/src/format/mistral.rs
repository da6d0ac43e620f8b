//! Mistral: `[TOOL_CALLS] [{"name": ..., "arguments": {...}}]` up to tokenizer v7, and
//! `[TOOL_CALLS]name[ARGS]{...}` from v11 on, with `[CALL_ID]id` before `[ARGS]` in some.
//!
//! Source: mistral-common, `tokens/tokenizers/instruct.py` and its documentation of tokenizer
//! versions.

use super::bare_arguments::BareArguments;
use super::call_list::CallList;
use super::json_scan::is_space;
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[Open { marker: "[TOOL_CALLS]", is_first: false, dialect: || Box::new(Call::Begin) }],
    layout: &[],
    closers: &[",", ";"],
};

const ARGS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";

#[derive(Debug)]
enum Call {
    Begin,
    List(CallList),
    /// The name, and what stands between it and the arguments.
    Head(String),
    Arguments(BareArguments),
}

impl Dialect for Call {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        match self {
            Self::Begin if is_space(letter) => Step::More,
            Self::Begin if letter == '[' => {
                *self = Self::List(CallList::begun());
                Step::More
            }
            Self::Begin if letter == '{' => Step::Broken,
            Self::Begin => {
                *self = Self::Head(letter.into());
                Step::More
            }
            Self::List(list) => list.push(letter, sink),
            Self::Head(head) if letter == '{' => {
                let is_started = name(head).is_some_and(|name| sink.start_call(name).is_ok());
                if !is_started {
                    return Step::Broken;
                }
                let mut arguments = BareArguments::default();
                let step = arguments.push(letter, sink);
                *self = Self::Arguments(arguments);
                step
            }
            Self::Head(head) => {
                head.push(letter);
                let limit = 2 * sink.limits.name_bytes_max;
                if head.len() > limit { Step::Broken } else { Step::More }
            }
            Self::Arguments(arguments) => arguments.push(letter, sink),
        }
    }
}

/// The name in `name[ARGS]`, `name[CALL_ID]id[ARGS]` or, where control tokens are not
/// written, `name`.
fn name(head: &str) -> Option<&str> {
    let head = head.trim();
    let head = head.strip_suffix(ARGS).unwrap_or(head);
    let name = head.split_once(CALL_ID).map_or(head, |(name, _)| name).trim();
    (!name.is_empty()).then_some(name)
}
