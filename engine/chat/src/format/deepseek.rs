//! DeepSeek: `<｜tool▁call▁begin｜>function<｜tool▁sep｜>name`, a line, and the arguments in a
//! ```` ```json ```` block (V3, R1), or `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{...}` (V3.1).
//!
//! Source: the chat templates of DeepSeek-V3-0324, DeepSeek-R1-0528 and DeepSeek-V3.1.

use super::bare_arguments::BareArguments;
use super::json_scan::is_space;
use super::sink::Sink;
use super::tagged::{Dialect, Open, Step, Syntax};

/// Its markers.
pub static SYNTAX: Syntax = Syntax {
    opens: &[Open {
        marker: "<｜tool▁call▁begin｜>",
        is_first: false,
        dialect: || Box::new(Call::Head(String::new())),
    }],
    layout: &["<｜tool▁calls▁begin｜>"],
    closers: &["<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "```"],
};

const SEPARATOR: &str = "<｜tool▁sep｜>";
/// What opens the block with the arguments.
const FENCE: &str = "```json";

#[derive(Debug)]
enum Call {
    /// Up to the separator.
    Head(String),
    /// After `name` and the separator, or after the line with the name and the fence.
    BeforeArguments {
        name: String,
    },
    /// After `function` and the separator: the name, and the fence.
    Name(String),
    Arguments(BareArguments),
}

impl Dialect for Call {
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        let limit = 2 * sink.limits.name_bytes_max;
        match self {
            Self::Head(head) => {
                head.push(letter);
                if let Some(kind) = head.strip_suffix(SEPARATOR) {
                    *self = match kind.trim() {
                        "function" => Self::Name(String::new()),
                        name => Self::BeforeArguments { name: name.to_owned() },
                    };
                } else if head.len() > limit {
                    return Step::Broken;
                }
                Step::More
            }
            Self::Name(head) => {
                head.push(letter);
                if let Some(name) = head.strip_suffix(FENCE) {
                    *self = Self::BeforeArguments { name: name.trim().to_owned() };
                } else if head.len() > limit {
                    return Step::Broken;
                }
                Step::More
            }
            Self::BeforeArguments { .. } if is_space(letter) => Step::More,
            Self::BeforeArguments { name } if letter == '{' => {
                if sink.start_call(name).is_err() {
                    return Step::Broken;
                }
                let mut arguments = BareArguments::default();
                let step = arguments.push(letter, sink);
                *self = Self::Arguments(arguments);
                step
            }
            Self::BeforeArguments { .. } => Step::Broken,
            Self::Arguments(arguments) => arguments.push(letter, sink),
        }
    }
}
