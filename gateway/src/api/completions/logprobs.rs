//! Log-probabilities as OpenAI's older endpoint writes them: a column for each thing to know.

use engine_api::{CandidateToken, TokenLogprob};
use serde::{Serialize, Serializer};

use crate::api::logprobs::{finite, shown};

/// `logprobs` of a choice, or of a piece of it.
#[derive(Serialize, Default, Debug)]
pub struct LogprobsShape {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    /// The likeliest tokens and the one that was drawn, by their text.
    top_logprobs: Vec<Candidates>,
    /// Where each token begins in the text, in characters.
    text_offset: Vec<usize>,
}

/// Tokens with their log-probabilities, likeliest first: an object, whose names are their texts.
#[derive(Default, Debug)]
struct Candidates(Vec<(String, f32)>);

impl Candidates {
    /// Of tokens that are shown alike, the first counts.
    fn push(&mut self, candidate: &CandidateToken) {
        let text = shown(&candidate.bytes);
        if self.0.iter().all(|(other, _)| *other != text) {
            self.0.push((text, finite(candidate.logprob)));
        }
    }
}

impl Serialize for Candidates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(text, logprob)| (text, logprob)))
    }
}

/// Counts where tokens begin.
#[derive(Default)]
pub struct Offset(usize);

impl LogprobsShape {
    /// Takes the next token.
    pub fn push(&mut self, token: TokenLogprob, offset: &mut Offset) {
        let TokenLogprob { drawn, top } = token;
        let mut candidates = Candidates::default();
        top.iter().chain([&drawn]).for_each(|candidate| candidates.push(candidate));
        self.tokens.push(shown(&drawn.bytes));
        self.token_logprobs.push(finite(drawn.logprob));
        self.top_logprobs.push(candidates);
        self.text_offset.push(offset.0);
        // bytes that go on with a character begin none
        offset.0 += drawn.bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    }
}
