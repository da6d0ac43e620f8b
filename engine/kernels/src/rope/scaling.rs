//! Frequencies for longer contexts.

use std::f64::consts::TAU;

use crate::float::ln_f64;

/// How frequencies were changed to reach a longer context than the model was first trained with.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// Every frequency divided (arXiv 2306.15595).
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Low frequencies divided, high ones kept, those between blended: what Llama 3.1 does.
    Llama3 {
        /// The divisor.
        factor: f32,
        /// The original context over the shortest wavelength that is divided in full.
        low_frequency_factor: f32,
        /// The original context over the longest wavelength that is kept; above the low factor.
        high_frequency_factor: f32,
        /// Positions that the model was first trained with.
        original_context: u32,
    },
    /// The same by a ramp over the pairs (arXiv 2309.00071).
    Yarn {
        /// The divisor.
        factor: f32,
        /// Positions that the model was first trained with.
        original_context: u32,
        /// Turns in the original context from which on a frequency is kept.
        beta_fast: f32,
        /// Turns in the original context up to which a frequency is divided in full.
        beta_slow: f32,
        /// What cosines and sines are multiplied with.
        attention_factor: f32,
    },
    /// A divisor a pair: the tensor `rope_freqs.weight` of GGUF files, or one of LongRoPE's two lists
    /// (arXiv 2402.13753).
    Factors {
        /// One for each pair of elements.
        divisors: Vec<f32>,
        /// What cosines and sines are multiplied with.
        attention_factor: f32,
    },
}

impl RopeScaling {
    /// `1 + ln(factor) / 10`, what YaRN multiplies cosines and sines with unless a model says
    /// otherwise; 1 for factors up to 1.
    pub fn yarn_attention_factor(factor: f32) -> f32 {
        if factor <= 1.0 {
            return 1.0;
        }
        (1.0 + 0.1 * ln_f64(f64::from(factor))) as f32
    }

    /// The square root of `1 + ln(factor) / ln(original context)`: the same of LongRoPE, where
    /// `factor` is the longest context over the original one.
    pub fn long_attention_factor(factor: f32, original_context: u32) -> f32 {
        if factor <= 1.0 || original_context < 2 {
            return 1.0;
        }
        let ratio = ln_f64(f64::from(factor)) / ln_f64(f64::from(original_context));
        (1.0 + ratio).sqrt() as f32
    }

    /// What cosines and sines are multiplied with.
    pub(super) fn attention_factor(&self) -> f64 {
        match self {
            RopeScaling::Yarn { attention_factor, .. }
            | RopeScaling::Factors { attention_factor, .. } => f64::from(*attention_factor),
            _ => 1.0,
        }
    }

    /// Whether every number makes sense for so many pairs.
    pub(super) fn is_sound(&self, pairs: usize) -> bool {
        let positive = |numbers: &[f32]| numbers.iter().all(|x| x.is_normal() && *x > 0.0);
        match self {
            RopeScaling::None => true,
            RopeScaling::Linear { factor } => positive(&[*factor]),
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context,
            } => positive(&[*factor, *low, *high]) && low < high && *original_context > 0,
            RopeScaling::Yarn {
                factor,
                original_context,
                beta_fast: fast,
                beta_slow: slow,
                attention_factor,
            } => {
                positive(&[*factor, *fast, *slow, *attention_factor])
                    && slow < fast
                    && *original_context > 0
            }
            RopeScaling::Factors { divisors, attention_factor } => {
                divisors.len() == pairs && positive(divisors) && positive(&[*attention_factor])
            }
        }
    }

    /// Changes the frequencies of the pairs of `2 * frequencies.len()` elements.
    pub(super) fn apply(&self, frequencies: &mut [f64], ln_base: f64) {
        match self {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                frequencies.iter_mut().for_each(|frequency| *frequency /= f64::from(*factor));
            }
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context,
            } => {
                let (low, high) = (f64::from(*low), f64::from(*high));
                for frequency in frequencies {
                    let turns = f64::from(*original_context) * *frequency / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency = blend(*frequency, f64::from(*factor), kept);
                }
            }
            RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, .. } => {
                let width = 2.0 * frequencies.len() as f64;
                // the pair that turns so often in the original context
                let pair = |turns: f32| {
                    let wavelength = f64::from(*original_context) / f64::from(turns);
                    width * ln_f64(wavelength / TAU) / (2.0 * ln_base)
                };
                let begin = pair(*beta_fast).floor().max(0.0);
                let end = pair(*beta_slow).ceil().min(width - 1.0);
                for (i, frequency) in frequencies.iter_mut().enumerate() {
                    let ramp = (i as f64 - begin) / (end - begin).max(0.001);
                    *frequency = blend(*frequency, f64::from(*factor), 1.0 - ramp.clamp(0.0, 1.0));
                }
            }
            RopeScaling::Factors { divisors, .. } => {
                for (frequency, divisor) in frequencies.iter_mut().zip(divisors) {
                    *frequency /= f64::from(*divisor);
                }
            }
        }
    }
}

/// A share `kept` of a frequency, and the rest of it divided.
fn blend(frequency: f64, factor: f64, kept: f64) -> f64 {
    frequency * kept + frequency / factor * (1.0 - kept)
}
