//! Temperature and nucleus (Holtzman et al., arXiv 1904.09751), by inversion.

use super::arithmetic::exp;

/// Tokens that are sorted at first; eight times more as long as they hold too little mass.
const SORTED_FIRST: usize = 256;

/// Draws an index. `peak` is the largest logit, `temperature` is above 0, `uniform` is in
/// [0, 1). The order in which masses are added up is that of ids where every token is kept,
/// and otherwise that of falling logits, ties by lower id first.
pub(super) fn draw(logits: &[f32], peak: f32, temperature: f32, top_p: f32, uniform: f64) -> usize {
    let scale = 1.0 / temperature as f64;
    let weights: Vec<f64> =
        logits.iter().map(|logit| exp((*logit as f64 - peak as f64) * scale)).collect();
    let mass: f64 = weights.iter().sum();
    if top_p >= 1.0 {
        return invert(0..logits.len(), &weights, uniform * mass);
    }
    let (kept, kept_mass) = nucleus(logits, &weights, top_p as f64 * mass);
    invert(kept.into_iter(), &weights, uniform * kept_mass)
}

/// The fewest likeliest indexes, one at least, that reach a mass, and the mass they have.
fn nucleus(logits: &[f32], weights: &[f64], wanted: f64) -> (Vec<usize>, f64) {
    let better = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let mut sorted = SORTED_FIRST;
    loop {
        if sorted < order.len() {
            order.select_nth_unstable_by(sorted, better);
        }
        let end = sorted.min(order.len());
        order[..end].sort_unstable_by(better);
        let mut mass = 0.0;
        for (rank, index) in order[..end].iter().enumerate() {
            mass += weights[*index];
            if mass >= wanted {
                order.truncate(rank + 1);
                return (order, mass);
            }
        }
        if end == order.len() {
            return (order, mass);
        }
        sorted *= 8;
    }
}

/// The first index at which the running sum of weights passes the target. Rounding may leave
/// the target at the very end: then the last index that has any weight.
fn invert(order: impl Iterator<Item = usize>, weights: &[f64], target: f64) -> usize {
    let mut sum = 0.0;
    let mut last = None;
    for index in order.filter(|index| weights[*index] > 0.0) {
        sum += weights[index];
        last = Some(index);
        if sum > target {
            break;
        }
    }
    last.expect("the peak has weight 1")
}
