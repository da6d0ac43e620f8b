//! Which tokens can be drawn, and the draw among them by inversion: temperature, min-p (Nguyen et
//! al., arXiv 2407.01082), top-k, and the nucleus (Holtzman et al., arXiv 1904.09751).

use std::cmp::Ordering;

use engine_api::Sampling;
use engine_kernels::{SPAN, Weights, exponent};

use super::logarithm::ln;

/// Tokens that are sorted at first; eight times more as long as they hold too little mass.
const SORTED_FIRST: usize = 256;
/// How far a logit may be off the bound below which it cannot matter, for rounding.
const MARGIN: f64 = 1e-3;

/// Draws an index. `best` is that of the largest logit, the temperature is above 0, `uniform` is in
/// [0, 1). The order in which masses are added up is that of [`Weights`] where neither top-k nor
/// top-p leaves any out, and otherwise that of falling logits, ties by lower id first.
pub(super) fn draw(
    logits: &[f32],
    best: usize,
    sampling: &Sampling,
    uniform: f64,
    weights: &mut Weights,
    order: &mut Vec<u32>,
) -> usize {
    let peak = logits[best];
    let scale = 1.0 / sampling.temperature.get() as f64;
    let min_p = sampling.min_p.get() as f64;
    let top_k = sampling.top_k.get().map_or(usize::MAX, |count| count.get() as usize);
    let top_p = sampling.top_p.get() as f64;
    if top_k < logits.len() {
        likeliest(logits, top_k, order);
        let weight = |index: &u32| {
            let weight = exponent((logits[*index as usize] as f64 - peak as f64) * scale);
            if weight < min_p { 0.0 } else { weight }
        };
        let kept = &mut weights.each;
        kept.clear();
        kept.extend(order.iter().map(weight));
        let mut mass = kept.iter().sum::<f64>();
        if top_p < 1.0
            && let Some((count, reached)) = prefix(kept.iter().copied(), top_p * mass)
        {
            kept.truncate(count);
            mass = reached;
        }
        return order[invert(kept.iter().copied(), uniform * mass)] as usize;
    }
    weights.fill(logits, peak, scale, min_p);
    let mass = weights.sum();
    if top_p >= 1.0 {
        return invert_all(weights, uniform * mass);
    }
    // tokens of less than this hold too little together to be needed
    let spare = (1.0 - top_p) * mass / logits.len() as f64;
    let least = peak as f64 + ln(spare) / scale - MARGIN;
    let (count, kept_mass) = nucleus(logits, weights, top_p * mass, least, order);
    let kept = order[..count].iter().map(|index| weights.each[*index as usize]);
    order[invert(kept, uniform * kept_mass)] as usize
}

/// Falling logits, ties by lower id first.
fn better(logits: &[f32]) -> impl Fn(&u32, &u32) -> Ordering {
    |a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b))
}

/// The indexes of the `count` largest logits, best first; `count` is below their number.
fn likeliest(logits: &[f32], count: usize, order: &mut Vec<u32>) {
    let most = 2 * count.max(SORTED_FIRST);
    let mut least = f32::NEG_INFINITY;
    order.clear();
    for (index, logit) in logits.iter().enumerate() {
        // an equal one that comes later is worse
        if *logit > least || order.len() < count {
            order.push(index as u32);
            if order.len() == most {
                order.select_nth_unstable_by(count - 1, better(logits));
                order.truncate(count);
                least = logits[order[count - 1] as usize];
            }
        }
    }
    if order.len() > count {
        order.select_nth_unstable_by(count - 1, better(logits));
        order.truncate(count);
    }
    order.sort_unstable_by(better(logits));
}

/// Puts the likeliest indexes first: the fewest, one at least, that reach a mass. Gives how many
/// they are, and the mass that they have. None of them has a logit below `least`, but for rounding.
fn nucleus(
    logits: &[f32],
    weights: &Weights,
    wanted: f64,
    least: f64,
    order: &mut Vec<u32>,
) -> (usize, f64) {
    let ids = 0..logits.len() as u32;
    order.clear();
    order.extend(ids.clone().filter(|index| logits[*index as usize] as f64 >= least));
    if let Some(found) = sorted_prefix(logits, weights, order, wanted) {
        return found;
    }
    order.clear();
    order.extend(ids);
    let all = sorted_prefix(logits, weights, order, wanted);
    all.unwrap_or_else(|| {
        let masses = order.iter().map(|index| weights.each[*index as usize]);
        (order.len(), masses.sum())
    })
}

/// Sorts as much of the indexes as it takes to reach a mass.
fn sorted_prefix(
    logits: &[f32],
    weights: &Weights,
    order: &mut [u32],
    wanted: f64,
) -> Option<(usize, f64)> {
    let mut sorted = SORTED_FIRST;
    loop {
        if sorted < order.len() {
            order.select_nth_unstable_by(sorted, better(logits));
        }
        let end = sorted.min(order.len());
        order[..end].sort_unstable_by(better(logits));
        let masses = order[..end].iter().map(|index| weights.each[*index as usize]);
        let found = prefix(masses, wanted);
        if found.is_some() || end == order.len() {
            return found;
        }
        sorted *= 8;
    }
}

/// How many of some masses reach one, and what they are together; `None` where all do not.
fn prefix(masses: impl Iterator<Item = f64>, wanted: f64) -> Option<(usize, f64)> {
    let mut sum = 0.0;
    for (rank, mass) in masses.enumerate() {
        sum += mass;
        if sum >= wanted {
            return Some((rank + 1, sum));
        }
    }
    None
}

/// The first place at which the running sum of masses passes the target. Rounding may leave
/// the target at the very end: then the last place that has any mass.
fn invert(masses: impl Iterator<Item = f64>, target: f64) -> usize {
    let mut sum = 0.0;
    let mut last = None;
    for (place, mass) in masses.enumerate().filter(|(_, mass)| *mass > 0.0) {
        sum += mass;
        last = Some(place);
        if sum > target {
            break;
        }
    }
    last.expect("the peak has weight 1")
}

/// The same among all weights: first the span, then the place in it.
fn invert_all(weights: &Weights, target: f64) -> usize {
    let mut before = 0.0;
    let mut last = None;
    for (number, span) in weights.spans.iter().enumerate().filter(|(_, span)| **span > 0.0) {
        last = Some((number, before));
        if before + span > target {
            break;
        }
        before += span;
    }
    let (number, before) = last.expect("the peak has weight 1");
    let start = number * SPAN;
    let span = weights.each[start..].iter().take(SPAN).copied();
    start + invert(span, target - before)
}
