//! One answer: what was drawn, and the text that it has become.
//!
//! Under a grammar an answer ends with an end token or a stop token only where the grammar may
//! end. Where it is complete and nothing can follow, the answer ends by itself, whatever
//! `min_tokens` and `ignore_eos` say; where it may end and may go on, they hold. An end token that
//! the grammar names in its middle is a token like others. `max_tokens` and stop strings cut
//! anywhere, as the client asked.

use engine_api::{FinishReason, StopTokens, Stopping, TokenId};
use engine_text::{Detokenizer, StopMatcher, Tokenizer};

use crate::constraint::{Allowed, Guide, Lost};
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
    markers: Vec<TokenId>,
    guide: Option<Guide>,
    ended: bool,
}

impl Sequence {
    /// An answer without tokens, of what the guide lets through. Control tokens leave text only
    /// where they are among the markers.
    pub(crate) fn new(stopping: &Stopping, markers: &[TokenId], guide: Option<Guide>) -> Self {
        Self {
            drawn: Vec::new(),
            occurrences: Occurrences::default(),
            detokenizer: Detokenizer::new(),
            matcher: StopMatcher::new(stopping.stop.as_slice()),
            stop_tokens: stopping.stop_tokens.clone(),
            markers: markers.to_vec(),
            guide,
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

    /// The only tokens that may be drawn next; `None` where anything goes but what is barred.
    pub(crate) fn allowed(
        &mut self,
        ending: &Ending,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Allowed>, Lost> {
        let Some(guide) = &mut self.guide else {
            return Ok(None);
        };
        let mut allowed = guide.allowed()?;
        let stop_tokens = self.stop_tokens.iter().map(|id| id.0);
        if !guide.may_end()? {
            allowed.bar(stop_tokens);
            return Ok(Some(allowed));
        }
        let is_short = (self.drawn.len() as u32) < ending.tokens_min;
        if is_short {
            allowed.bar(stop_tokens);
        } else {
            stop_tokens.for_each(|id| allowed.add(id));
        }
        if is_short || ending.ignore_eos {
            allowed.bar(tokenizer.end_tokens().iter().copied());
        }
        Ok(Some(allowed))
    }

    /// Works out what may be drawn next, so that [`Self::allowed`] has it.
    pub(crate) fn prepare(&mut self) {
        if let Some(guide) = &mut self.guide {
            guide.prepare();
        }
    }

    /// The tokens that a grammar forces to come next, at most so many.
    pub(crate) fn forced(&mut self, most: usize) -> Vec<u32> {
        self.guide.as_mut().map_or(Vec::new(), |guide| guide.forced(most))
    }

    /// Takes the next token: the only way by which an answer grows.
    pub(crate) fn accept(
        &mut self,
        id: TokenId,
        ending: &Ending,
        tokenizer: &Tokenizer,
    ) -> Result<Accepted, Lost> {
        assert!(!self.ended, "an answer that ended takes no token");
        let is_end_token = tokenizer.end_tokens().contains(&id.0);
        let effect = match &mut self.guide {
            None => {
                let ends = (is_end_token && !ending.ignore_eos) || self.stop_tokens.contains(id);
                if ends { Effect::Ends } else { Effect::Goes }
            }
            Some(guide) => guided(guide, id, is_end_token, self.stop_tokens.contains(id))?,
        };
        self.drawn.push(id);
        self.occurrences.add(id);
        let accepted = if effect == Effect::Ends {
            let text = self.rest();
            let end = End { reason: FinishReason::Stop, text };
            Accepted { text: String::new(), end: Some(end) }
        } else {
            let bytes = self.bytes(id, is_end_token, tokenizer);
            self.read(bytes, effect == Effect::Completes, ending)
        };
        self.ended = accepted.end.is_some();
        Ok(accepted)
    }

    /// The bytes of a token that does not end the answer.
    fn bytes<'t>(&self, id: TokenId, is_end_token: bool, tokenizer: &'t Tokenizer) -> &'t [u8] {
        match tokenizer.control_text(id.0).filter(|_| self.markers.contains(&id)) {
            Some(text) => text.as_bytes(),
            None if is_end_token => &[],
            None => tokenizer.bytes(id.0),
        }
    }

    fn read(&mut self, bytes: &[u8], is_complete: bool, ending: &Ending) -> Accepted {
        let count = self.drawn.len() as u32;
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
        } else if is_complete {
            Some(End { reason: FinishReason::Stop, text: self.rest() })
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

/// What a token does to an answer that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// It is no part of the text, and the last one.
    Ends,
    /// It is a part of the text, and nothing can follow.
    Completes,
    /// It is a part of the text.
    Goes,
}

/// Lets a token through a grammar.
fn guided(
    guide: &mut Guide,
    id: TokenId,
    is_end_token: bool,
    is_stop_token: bool,
) -> Result<Effect, Lost> {
    if (is_end_token || is_stop_token) && guide.may_end()? {
        return Ok(Effect::Ends);
    }
    guide.take(id.0)?;
    if is_end_token && guide.may_end()? {
        // a grammar that names its own end token
        return Ok(Effect::Ends);
    }
    Ok(if guide.is_complete() { Effect::Completes } else { Effect::Goes })
}

#[cfg(test)]
mod tests;
