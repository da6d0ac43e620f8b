//! From logits to a token.
//!
//! A draw is a pure function of the logits, the parameters, the prompt, what the choice has drawn
//! before and the name of the draw (seed, choice, index). Every sum runs in one order, and exponent
//! and logarithm are our own, so that a draw can be repeated anywhere in a numerics class.
//!
//! The order is that of vLLM's sampler: bias, repetition penalty, frequency and presence
//! penalties; what a grammar allows; the likeliest token where the temperature is 0; else
//! temperature, min-p, top-k, top-p, and the draw. So top-k and top-p choose among tokens that fit.
//! Log-probabilities are those of the model, which knows of no grammar.

mod logarithm;
mod logprobs;
mod nucleus;
mod peak;
mod philox;

use std::collections::BTreeMap;

use engine_api::{Sampling, TokenId};
use engine_kernels::Weights;

use crate::constraint::Allowed;
use peak::{are_finite, argmax};

pub(crate) use logprobs::{Candidate, Logprobs};

/// A model gave a logit that is not a number or infinite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a logit is not finite")]
pub(crate) struct NotFinite;

/// How often each token was drawn in a choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occurrences(BTreeMap<TokenId, u32>);

impl Occurrences {
    /// Counts one more.
    pub(crate) fn add(&mut self, id: TokenId) {
        *self.0.entry(id).or_default() += 1;
    }
}

/// Which draw this is, and what it may not give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw<'a> {
    /// Which answer.
    pub(crate) choice: u8,
    /// Position in the answer.
    pub(crate) index: u32,
    /// What the model was given, for the repetition penalty.
    pub(crate) prompt: &'a [TokenId],
    /// What the answer holds so far, for the penalties.
    pub(crate) occurrences: &'a Occurrences,
    /// Tokens that cannot be drawn: those that would end the answer, before `min_tokens`.
    pub(crate) barred: &'a [TokenId],
    /// The only tokens that can be drawn, where a grammar has to be followed.
    pub(crate) allowed: Option<&'a Allowed>,
}

/// A drawn token.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Drawn {
    /// Its id.
    pub(crate) id: TokenId,
    /// When asked for.
    pub(crate) logprobs: Option<Logprobs>,
}

/// Memory that draws use one after the other. What is in it means nothing.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    adjusted: Vec<f32>,
    weights: Weights,
    order: Vec<u32>,
}

impl Draw<'_> {
    /// Draws from logits, one a token of the vocabulary.
    pub(crate) fn from(
        &self,
        logits: &[f32],
        sampling: &Sampling,
        scratch: &mut Scratch,
    ) -> Result<Drawn, NotFinite> {
        if !are_finite(logits) {
            return Err(NotFinite);
        }
        let Scratch { adjusted, weights, order } = scratch;
        let adjusted = match self.adjusts(sampling) {
            true => self.adjust(logits, sampling, adjusted),
            false => logits,
        };
        let best = argmax(adjusted);
        // everything is barred, or a penalty led out of the range
        if !adjusted[best].is_finite() {
            return Err(NotFinite);
        }
        let index = if sampling.temperature.get() == 0.0 {
            best
        } else {
            let uniform = philox::uniform(sampling.seed.0, self.choice, self.index);
            nucleus::draw(adjusted, best, sampling, uniform, weights, order)
        };
        let id = TokenId(index as u32);
        let logprobs = sampling.logprobs.map(|top| Logprobs::of(logits, id, top.get(), weights));
        Ok(Drawn { id, logprobs })
    }

    /// Whether anything changes the logits.
    fn adjusts(&self, sampling: &Sampling) -> bool {
        let penalties = [sampling.frequency_penalty, sampling.presence_penalty];
        sampling.logit_bias.iter().next().is_some()
            || sampling.repetition_penalty.get() != 1.0
            || penalties.iter().any(|penalty| penalty.get() != 0.0)
            || !self.barred.is_empty()
            || self.allowed.is_some()
    }

    /// Bias, repetition penalty, the other penalties (OpenAI's formula), bars and what a grammar
    /// allows, in this order.
    fn adjust<'a>(
        &self,
        logits: &[f32],
        sampling: &Sampling,
        adjusted: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        for (id, bias) in sampling.logit_bias.iter() {
            adjusted[id.index()] += bias;
        }
        self.penalize_repetition(adjusted, sampling.repetition_penalty.get());
        let frequency = sampling.frequency_penalty.get();
        let presence = sampling.presence_penalty.get();
        if frequency != 0.0 || presence != 0.0 {
            for (id, count) in &self.occurrences.0 {
                adjusted[id.index()] -= *count as f32 * frequency + presence;
            }
        }
        for id in self.barred {
            adjusted[id.index()] = f32::NEG_INFINITY;
        }
        if let Some(allowed) = self.allowed {
            allowed.apply(adjusted);
        }
        adjusted
    }

    /// Each token of prompt and answer once, however often it occurs.
    fn penalize_repetition(&self, logits: &mut [f32], penalty: f32) {
        if penalty == 1.0 {
            return;
        }
        let mut is_penalized = vec![false; logits.len()];
        for id in self.prompt.iter().chain(self.occurrences.0.keys()) {
            if !std::mem::replace(&mut is_penalized[id.index()], true) {
                let logit = &mut logits[id.index()];
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
