//! What one request showed.

use std::time::Duration;

use crate::chunk::Tokens;

/// One request, from the moment at which it should have left.
#[derive(Debug)]
pub struct Sample {
    /// How much later than intended it left: the client's own fault.
    pub lag: Duration,
    /// What came of it.
    pub outcome: Result<Answer, Failure>,
}

/// A whole answer. Times count from the intended moment.
#[derive(Debug)]
pub struct Answer {
    /// Until the first text, or until the end where there was no text.
    pub first: Duration,
    /// Until the end.
    pub total: Duration,
    /// Between one piece of text and the next.
    pub gaps: Vec<Duration>,
    /// The server's counts, or the number of pieces where it sent none.
    pub tokens: Tokens,
    /// What it says.
    pub text: String,
}

impl Answer {
    /// Mean time of each token after the first.
    pub fn per_token(&self) -> Option<Duration> {
        let after_first = u32::try_from(self.tokens.output.checked_sub(1)?).ok()?;
        (self.total - self.first).checked_div(after_first)
    }
}

/// Why a request has no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection, or it broke.
    Connection,
    /// It took longer than `--timeout`.
    Timeout,
    /// Any status but 200, with the error's code where the body has one.
    Status(u16, Option<String>),
    /// An error in the stream, with its code.
    Stream(String),
    /// The stream ended without `[DONE]`.
    EndedEarly,
    /// What came is no stream of chat completion chunks.
    Malformed,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection => f.write_str("connection failed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status, Some(code)) => write!(f, "http {status} {code}"),
            Self::Status(status, None) => write!(f, "http {status}"),
            Self::Stream(code) => write!(f, "stream error {code}"),
            Self::EndedEarly => f.write_str("ended early"),
            Self::Malformed => f.write_str("malformed stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_per_token_leaves_the_first_out() {
        let answer = |output| Answer {
            first: Duration::from_millis(100),
            total: Duration::from_millis(400),
            gaps: Vec::new(),
            tokens: Tokens { prompt: 1, output },
            text: String::new(),
        };
        assert_eq!(answer(4).per_token(), Some(Duration::from_millis(100)));
        assert_eq!(answer(1).per_token(), None);
        assert_eq!(answer(0).per_token(), None);
    }
}
