//! Calls as a JSON array of objects.

use super::call_object::CallObject;
use super::json_scan::is_space;
use super::sink::Sink;
use super::tagged::Step;

/// An array that is being read.
#[derive(Debug, Default)]
pub struct CallList {
    at: At,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Begin,
    CallOrEnd,
    Call,
    InCall(CallObject),
    CommaOrEnd,
}

impl CallList {
    /// After the `[`.
    pub fn begun() -> Self {
        Self { at: At::CallOrEnd }
    }

    /// Takes a letter. [`Step::Closed`] comes with the last bracket.
    pub fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        if let At::InCall(call) = &mut self.at {
            return match call.push(letter, sink) {
                Step::Closed => {
                    self.at = At::CommaOrEnd;
                    Step::More
                }
                step => step,
            };
        }
        self.at = match (&self.at, letter) {
            _ if is_space(letter) => return Step::More,
            (At::Begin, '[') => At::CallOrEnd,
            (At::CallOrEnd | At::Call, '{') => At::InCall(CallObject::begun()),
            (At::CommaOrEnd, ',') => At::Call,
            // a list without calls is no call, but nothing to show either
            (At::CallOrEnd | At::CommaOrEnd, ']') => return Step::Closed,
            _ => return Step::Broken,
        };
        Step::More
    }
}
