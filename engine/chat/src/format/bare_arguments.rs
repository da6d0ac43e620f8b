//! Arguments that stand alone: the name came before them.

use super::json_scan::{JsonScan, Taken};
use super::sink::Sink;
use super::tagged::Step;

/// The arguments of the call that the sink has open.
#[derive(Debug, Default)]
pub struct BareArguments {
    scan: JsonScan,
}

impl BareArguments {
    /// Takes a letter, from the first brace on. The end of the arguments is the end of the call.
    pub fn push(&mut self, letter: char, sink: &mut Sink) -> Step {
        let mut text = String::new();
        let Ok(taken) = self.scan.push(letter, &mut text) else { return Step::Broken };
        sink.arguments(&text);
        if taken != Taken::Last {
            return Step::More;
        }
        sink.finish_call();
        Step::Closed
    }
}
