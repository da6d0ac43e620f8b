//! Log-probabilities of the model itself: before temperature, penalties and bias.

use engine_api::TokenId;
use engine_kernels::Weights;

use super::logarithm::ln;
use super::peak::argmax;

/// A token and the natural logarithm of its probability.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: TokenId,
    pub(crate) logprob: f32,
}

/// What is reported of one position.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Logprobs {
    /// The token that was drawn.
    pub(crate) drawn: Candidate,
    /// The likeliest, best first; ties by lower id first.
    pub(crate) top: Vec<Candidate>,
}

impl Logprobs {
    /// Reads finite logits.
    pub(crate) fn of(logits: &[f32], drawn: TokenId, top: usize, weights: &mut Weights) -> Self {
        let largest = logits[argmax(logits)];
        // never 0, since the peak adds 1
        weights.fill(logits, largest, 1.0, 0.0);
        let (peak, log_sum) = (largest as f64, ln(weights.sum()));
        let candidate = |id: TokenId| {
            let logprob = (logits[id.index()] as f64 - peak - log_sum) as f32;
            Candidate { id, logprob }
        };
        let top = best(logits, top).into_iter().map(candidate).collect();
        Self { drawn: candidate(drawn), top }
    }
}

/// Ids of the largest logits, best first; ties by lower id first.
fn best(logits: &[f32], count: usize) -> Vec<TokenId> {
    let mut best: Vec<usize> = Vec::with_capacity(count + 1);
    for (id, logit) in logits.iter().enumerate() {
        let worst = best.last().filter(|_| best.len() >= count);
        if count == 0 || worst.is_some_and(|worst| *logit <= logits[*worst]) {
            continue;
        }
        let place = best.partition_point(|other| logits[*other] >= *logit);
        best.insert(place, id);
        best.truncate(count);
    }
    best.into_iter().map(|id| TokenId(id as u32)).collect()
}
