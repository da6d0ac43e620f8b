//! Which tokens can be drawn, and the draw among them by inversion: temperature, min-p (Nguyen et
//! al., arXiv 2407.01082), top-k, and the nucleus (Holtzman et al., arXiv 1904.09751).

use engine_api::Sampling;

use super::arithmetic::exp;

/// Tokens that are sorted at first; eight times more as long as they hold too little mass.
const SORTED_FIRST: usize = 256;

/// Draws an index. `peak` is the largest logit, the temperature is above 0, `uniform` is in
/// [0, 1). The order in which masses are added up is that of ids where neither top-k nor top-p
/// leaves any out, and otherwise that of falling logits, ties by lower id first.
pub(super) fn draw(logits: &[f32], peak: f32, sampling: &Sampling, uniform: f64) -> usize {
    let weights = weights(logits, peak, sampling);
    let top_k = sampling.top_k.get().map_or(usize::MAX, |count| count.get() as usize);
    let top_p = sampling.top_p.get() as f64;
    if top_k < logits.len() {
        let kept = likeliest(logits, top_k);
        let mass = kept.iter().map(|index| weights[*index]).sum::<f64>();
        let (kept, mass) = match prefix(&kept, &weights, top_p * mass) {
            Some((count, mass)) if top_p < 1.0 => (&kept[..count], mass),
            _ => (kept.as_slice(), mass),
        };
        return invert(kept.iter().copied(), &weights, uniform * mass);
    }
    let mass: f64 = weights.iter().sum();
    if top_p >= 1.0 {
        return invert(0..logits.len(), &weights, uniform * mass);
    }
    let (kept, kept_mass) = nucleus(logits, &weights, top_p * mass);
    invert(kept.into_iter(), &weights, uniform * kept_mass)
}

/// Probabilities after the temperature, as parts of the likeliest one's; 0 for those that min-p
/// leaves out.
fn weights(logits: &[f32], peak: f32, sampling: &Sampling) -> Vec<f64> {
    let scale = 1.0 / sampling.temperature.get() as f64;
    let min_p = sampling.min_p.get() as f64;
    let weight = |logit: &f32| {
        let weight = exp((*logit as f64 - peak as f64) * scale);
        if weight < min_p { 0.0 } else { weight }
    };
    logits.iter().map(weight).collect()
}

/// Falling logits, ties by lower id first.
fn better(logits: &[f32]) -> impl Fn(&usize, &usize) -> std::cmp::Ordering {
    |a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b))
}

/// The indexes of the `count` largest logits, best first; `count` is below their number.
fn likeliest(logits: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.select_nth_unstable_by(count, better(logits));
    order.truncate(count);
    order.sort_unstable_by(better(logits));
    order
}

/// The fewest likeliest indexes, one at least, that reach a mass, and the mass they have.
fn nucleus(logits: &[f32], weights: &[f64], wanted: f64) -> (Vec<usize>, f64) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let mut sorted = SORTED_FIRST;
    loop {
        if sorted < order.len() {
            order.select_nth_unstable_by(sorted, better(logits));
        }
        let end = sorted.min(order.len());
        order[..end].sort_unstable_by(better(logits));
        if let Some((count, mass)) = prefix(&order[..end], weights, wanted) {
            order.truncate(count);
            return (order, mass);
        }
        if end == order.len() {
            let mass = order.iter().map(|index| weights[*index]).sum();
            return (order, mass);
        }
        sorted *= 8;
    }
}

/// How many indexes of an order reach a mass, and the mass they have; `None` where all together
/// do not.
fn prefix(order: &[usize], weights: &[f64], wanted: f64) -> Option<(usize, f64)> {
    let mut mass = 0.0;
    for (rank, index) in order.iter().enumerate() {
        mass += weights[*index];
        if mass >= wanted {
            return Some((rank + 1, mass));
        }
    }
    None
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
