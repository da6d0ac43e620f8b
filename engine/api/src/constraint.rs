//! What may follow, and nothing else.

use std::sync::Arc;

use crate::OutOfRange;

/// A grammar that an answer has to follow: Lark, in llguidance's dialect. Where it is given, a
/// token that does not fit is never drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Constraint(Arc<str>);

impl Constraint {
    /// The longest grammar, in bytes.
    pub const BYTES_MAX: usize = 512 * 1024;

    /// Not empty, and at most [`Self::BYTES_MAX`] long. Whether it is a grammar at all, says
    /// whoever compiles it.
    pub fn new(grammar: impl Into<Arc<str>>) -> Result<Self, OutOfRange> {
        let grammar = grammar.into();
        if grammar.is_empty() || grammar.len() > Self::BYTES_MAX {
            let got = format!("{} bytes", grammar.len());
            return Err(OutOfRange { expected: "1 to 524288 bytes of grammar", got });
        }
        Ok(Self(grammar))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
