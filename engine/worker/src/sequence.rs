//! One answer: what was drawn, and the text that it has become.

use engine_api::{FinishReason, StopTokens, Stopping, TokenId};
use engine_text::{Detokenizer, StopMatcher, Tokenizer};

use crate::sampler::Occurrences;

/// When an answer ends, with every limit resolved.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// Tokens at most: what was asked for and what the context leaves.
    pub(crate) tokens_max: u32,
    /// Nothing but `tokens_max` ends an answer of up to so many tokens.
    pub(crate) tokens_min: u32,
    /// End tokens end nothing.
    pub(crate) ignore_eos: bool,
}

/// What a token did to an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Accepted {
    /// Text that is now certain.
    pub(crate) text: String,
    /// Present when the answer ended with it.
    pub(crate) end: Option<End>,
}

/// The end of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// Why.
    pub(crate) reason: FinishReason,
    /// Text that had been held back and belongs to the answer.
    pub(crate) text: String,
}

/// The state of an answer. It is a function of the tokens alone, so that a worker can take
/// one over by accepting the tokens that another drew.
pub(crate) struct Sequence {
    drawn: Vec<TokenId>,
    occurrences: Occurrences,
    detokenizer: Detokenizer,
    matcher: StopMatcher,
    stop_tokens: StopTokens,
    ended: bool,
}

impl Sequence {
    /// An answer without tokens.
    pub(crate) fn new(stopping: &Stopping) -> Self {
        Self {
            drawn: Vec::new(),
            occurrences: Occurrences::default(),
            detokenizer: Detokenizer::new(),
            matcher: StopMatcher::new(stopping.stop.as_slice()),
            stop_tokens: stopping.stop_tokens.clone(),
            ended: false,
        }
    }

    /// The tokens so far.
    pub(crate) fn drawn(&self) -> &[TokenId] {
        &self.drawn
    }

    /// How often each of them was drawn.
    pub(crate) fn occurrences(&self) -> &Occurrences {
        &self.occurrences
    }

    /// Whether a token ended it.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Tokens that may not be drawn yet, because they would end the answer before its least
    /// length.
    pub(crate) fn barred(&self, ending: &Ending, tokenizer: &Tokenizer) -> Vec<TokenId> {
        if self.drawn.len() as u32 >= ending.tokens_min {
            return Vec::new();
        }
        let end_tokens = if ending.ignore_eos { &[] } else { tokenizer.end_tokens() };
        self.stop_tokens.iter().chain(end_tokens.iter().copied().map(TokenId)).collect()
    }

    /// Takes the next token: the only way by which an answer grows.
    pub(crate) fn accept(
        &mut self,
        id: TokenId,
        ending: &Ending,
        tokenizer: &Tokenizer,
    ) -> Accepted {
        assert!(!self.ended, "an answer that ended takes no token");
        self.drawn.push(id);
        self.occurrences.add(id);
        let count = self.drawn.len() as u32;
        let is_end_token = tokenizer.end_tokens().contains(&id.0);
        let ends = (is_end_token && !ending.ignore_eos) || self.stop_tokens.contains(id);
        let accepted = if ends {
            let text = self.rest();
            let end = End { reason: FinishReason::Stop, text };
            Accepted { text: String::new(), end: Some(end) }
        } else {
            let bytes = if is_end_token { &[] } else { tokenizer.bytes(id.0) };
            self.read(bytes, count, ending)
        };
        self.ended = accepted.end.is_some();
        accepted
    }

    fn read(&mut self, bytes: &[u8], count: u32, ending: &Ending) -> Accepted {
        let text = self.detokenizer.push(bytes);
        // stop strings begin to count with the first token that may end the answer
        let (text, stopped) = if count <= ending.tokens_min {
            (text, false)
        } else {
            let held = self.matcher.push(&text);
            (held.released, held.stopped)
        };
        let end = if stopped {
            Some(End { reason: FinishReason::Stop, text: String::new() })
        } else if count >= ending.tokens_max {
            Some(End { reason: FinishReason::Length, text: self.rest() })
        } else {
            None
        };
        Accepted { text, end }
    }

    /// What was held back: an unfinished character, the beginning of a stop string.
    fn rest(&mut self) -> String {
        let tail = self.detokenizer.finish();
        let held = self.matcher.push(&tail);
        let mut text = held.released;
        if !held.stopped {
            text.push_str(&self.matcher.finish());
        }
        text
    }
}

#[cfg(test)]
mod tests;
