//! Where an answer is in its grammar.

use engine_api::EngineError;
use llguidance::Matcher;
use llguidance::api::StopReason;
use llguidance::toktrie::SimpleVob;

/// The grammar cannot be followed any further: it is too complex here, or a token does not fit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the grammar cannot be followed: {0}")]
pub(crate) struct Lost(String);

impl From<Lost> for EngineError {
    fn from(lost: Lost) -> Self {
        let message =
            format!("made of `response_format` or `tools` cannot be followed: {}", lost.0);
        Self::Invalid { param: "grammar", message }
    }
}

/// Tokens that may come next, one bit each. Ids beyond it may not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Allowed(SimpleVob);

impl Allowed {
    /// Whether a token may come next.
    #[cfg(test)]
    pub(crate) fn has(&self, id: u32) -> bool {
        (id as usize) < self.0.len() && self.0.is_allowed(id)
    }

    /// Lets a token in.
    pub(crate) fn add(&mut self, id: u32) {
        if (id as usize) < self.0.len() {
            self.0.allow_token(id);
        }
    }

    /// Keeps tokens out, unless they are the only ones.
    pub(crate) fn bar(&mut self, ids: impl Iterator<Item = u32>) {
        let mut left = self.0.clone();
        ids.filter(|id| (*id as usize) < self.0.len()).for_each(|id| left.disallow_token(id));
        if !left.is_zero() {
            self.0 = left;
        }
    }

    /// Makes every other token impossible.
    pub(crate) fn apply(&self, logits: &mut [f32]) {
        let (known, beyond) = logits.split_at_mut(self.0.len().min(logits.len()));
        beyond.fill(f32::NEG_INFINITY);
        let words = self.0.as_slice().iter().copied();
        for (part, word) in known.chunks_mut(u32::BITS as usize).zip(words) {
            if word == u32::MAX {
                continue;
            }
            for (bit, logit) in part.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// The state of one answer in its grammar. It is a function of the tokens that it took: whoever
/// takes the same ones is at the same place, however the masks between them were asked for.
pub struct Guide {
    matcher: Matcher,
    /// Forced text behind the last token has been looked for.
    is_settled: bool,
    /// What may come next, where it was asked for ahead.
    ahead: Option<Allowed>,
}

impl Guide {
    /// A grammar at its start, with lexer states of its own.
    pub(crate) fn new(matcher: Matcher) -> Self {
        Self { matcher, is_settled: false, ahead: None }
    }

    /// Works out what may come next, so that [`Self::allowed`] has it. An error waits until then.
    pub(crate) fn prepare(&mut self) {
        self.ahead = self.work_out().ok();
    }

    /// What may come next. End tokens are among it where the grammar may end here, and where it
    /// names them itself.
    pub(crate) fn allowed(&mut self) -> Result<Allowed, Lost> {
        match self.ahead.take() {
            Some(allowed) => Ok(allowed),
            None => self.work_out(),
        }
    }

    fn work_out(&mut self) -> Result<Allowed, Lost> {
        self.is_settled = true;
        self.matcher.compute_mask_or_eos().map(Allowed).map_err(lost)
    }

    /// The tokens that must come next, at most so many: at each of these places the only one
    /// that [`Self::allowed`] leaves.
    pub(crate) fn forced(&mut self, most: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        if most == 0 {
            return tokens;
        }
        self.is_settled = true;
        let Some(first) = self.matcher.compute_ff_tokens().first().copied() else {
            return tokens;
        };
        tokens.push(first);
        let mut scout = Self::new(self.matcher.clone());
        scout.is_settled = true;
        while tokens.len() < most
            && let Some(last) = tokens.last()
            && scout.take(*last).is_ok()
            && !scout.is_complete()
        {
            scout.is_settled = true;
            // each by itself: its spelling depends on the token before it
            match scout.matcher.compute_ff_tokens().first() {
                Some(next) => tokens.push(*next),
                None => break,
            }
        }
        tokens
    }

    /// Whether the answer may end here.
    pub(crate) fn may_end(&mut self) -> Result<bool, Lost> {
        self.matcher.is_accepting().map_err(lost)
    }

    /// Whether the answer must end here: the grammar is complete and nothing can follow.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.matcher.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    /// Takes the next token.
    pub(crate) fn take(&mut self, id: u32) -> Result<(), Lost> {
        self.ahead = None;
        // who asks for masks has looked for forced text before; who replays has to do it too
        if !std::mem::replace(&mut self.is_settled, false) {
            self.matcher.compute_ff_tokens();
        }
        self.matcher.consume_token(id).map_err(lost)
    }
}

fn lost(error: anyhow::Error) -> Lost {
    let text = error.to_string();
    // what follows is the state, which clients wrote
    Lost(text.split("\n<").next().unwrap_or_default().to_owned())
}
