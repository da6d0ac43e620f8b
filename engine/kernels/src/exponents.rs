//! Powers of e in double precision, for draws: from additions and multiplications alone, so that
//! they do not depend on the machine's math library. Errors stay below 1e-15 relative.

use crate::path::Path;

/// Weights that are added up together: [`Weights::spans`].
pub const SPAN: usize = 64;
/// Sums in a span, before they are added up themselves.
const SUMS: usize = 8;

/// High and low parts of ln 2 (fdlibm's `e_exp.c`): `k` times the high part is exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Below this, a power counts as 0.
const LEAST: f64 = -700.0;
/// 1.5 · 2^52: a number below 2^51 that is added to it is rounded to an integer in its low bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// 1 / n! from n = 0 on.
const INVERSE_FACTORIALS: [f64; 14] = inverse_factorials();

const fn inverse_factorials() -> [f64; 14] {
    let mut factors = [1.0; 14];
    let mut factorial = 1.0;
    let mut n = 1;
    while n < factors.len() {
        factorial *= n as f64;
        factors[n] = 1.0 / factorial;
        n += 1;
    }
    factors
}

/// e to the `x`, for `x` up to 700. Below -700 it is 0.
#[inline(always)]
pub fn exponent(x: f64) -> f64 {
    let bounded = if x > LEAST { x } else { LEAST };
    let shifted = bounded * std::f64::consts::LOG2_E + 0.5;
    // rounds towards minus infinity without a branch or a library call
    let nearest = (shifted + MAGIC) - MAGIC;
    let k = if nearest > shifted { nearest - 1.0 } else { nearest };
    let r = (bounded - k * LN_2_HIGH) - k * LN_2_LOW;
    // Taylor's series to the 13th power: |r| is at most ln 2 / 2
    let series = INVERSE_FACTORIALS.iter().rev().fold(0.0, |sum, factor| sum * r + factor);
    let integer = (k + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits());
    let power = series * f64::from_bits(integer.wrapping_add(1023) << 52);
    if x < LEAST { 0.0 } else { power }
}

/// Parts of probabilities, and their sums by spans. Kept from draw to draw for its memory.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// `e^((logit - peak) · scale)` of each token.
    pub each: Vec<f64>,
    /// The sum of each [`SPAN`] of them: eight sums, of every eighth weight each, and then these in
    /// their order.
    pub spans: Vec<f64>,
}

impl Weights {
    /// Computes the weights of all logits, of which `peak` is the largest; those below `least`
    /// become 0. The bits are the same on every machine.
    pub fn fill(&mut self, logits: &[f32], peak: f32, scale: f64, least: f64) {
        self.each.resize(logits.len(), 0.0);
        self.spans.resize(logits.len().div_ceil(SPAN), 0.0);
        let all = All { logits, peak, scale, least };
        match Path::best() {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                #[allow(unsafe_code)]
                // SAFETY: the path is one of this CPU, and so has these features
                unsafe {
                    avx512(all, self)
                }
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => {
                #[allow(unsafe_code)]
                // SAFETY: the path is one of this CPU, and so has these features
                unsafe {
                    avx2(all, self)
                }
            }
            _ => all.compute(self),
        }
    }

    /// All weights together: the sums of the spans, one after the other.
    pub fn sum(&self) -> f64 {
        self.spans.iter().sum()
    }
}

#[derive(Clone, Copy)]
struct All<'a> {
    logits: &'a [f32],
    peak: f32,
    scale: f64,
    least: f64,
}

impl All<'_> {
    #[inline(always)]
    fn compute(self, weights: &mut Weights) {
        let Self { logits, peak, scale, least } = self;
        for (logit, weight) in logits.iter().zip(&mut weights.each) {
            let power = exponent((f64::from(*logit) - f64::from(peak)) * scale);
            *weight = if power < least { 0.0 } else { power };
        }
        for (span, sum) in weights.each.chunks(SPAN).zip(&mut weights.spans) {
            let mut sums = [0.0; SUMS];
            for part in span.chunks(SUMS) {
                sums.iter_mut().zip(part).for_each(|(sum, weight)| *sum += weight);
            }
            *sum = sums.iter().sum();
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw")]
fn avx512(all: All<'_>, weights: &mut Weights) {
    all.compute(weights);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(all: All<'_>, weights: &mut Weights) {
    all.compute(weights);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_library() {
        for step in 0..20_000 {
            let x = (-700.0 + f64::from(step) * 0.0367).min(30.0);
            assert!((exponent(x) / x.exp() - 1.0).abs() < 2e-15, "e to the {x}");
        }
        assert_eq!([0.0, -1e9, f64::NEG_INFINITY].map(exponent), [1.0, 0.0, 0.0]);
    }

    /// One by one and without a set of instructions, as on the best that there is.
    #[test]
    fn weights_are_the_same_on_every_path() {
        let logits: Vec<f32> = (0..1000u32).map(|n| ((n * 7919) % 1000) as f32 / 40.0).collect();
        let (peak, scale, least) = (24.975, 1.0 / 0.7, 1e-9);
        let all = All { logits: &logits, peak, scale, least };
        let mut plain = Weights { each: vec![0.0; 1000], spans: vec![0.0; 16] };
        all.compute(&mut plain);
        let mut best = Weights::default();
        best.fill(&logits, peak, scale, least);
        let bits = |all: &[f64]| all.iter().map(|one| one.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&best.each), bits(&plain.each));
        assert_eq!(bits(&best.spans), bits(&plain.spans));
        for (logit, weight) in logits.iter().zip(&best.each) {
            let exact = exponent((f64::from(*logit) - f64::from(peak)) * scale);
            assert_eq!(*weight, if exact < least { 0.0 } else { exact });
        }
        let exact: f64 = best.each.iter().sum();
        assert!((best.sum() / exact - 1.0).abs() < 1e-14);
        assert!(best.each.contains(&0.0) && best.each.contains(&1.0));
    }
}
