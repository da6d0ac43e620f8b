//! How a token is drawn. Each number is checked once, when it is made.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::TokenId;

/// A parameter outside its range. The message names the range, not the caller's field.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("must be {expected}, got {got}")]
pub struct OutOfRange {
    /// The range in words, for example `between 0 and 2`.
    pub expected: &'static str,
    /// What came instead.
    pub got: String,
}

fn within(value: f32, low: f32, high: f32, expected: &'static str) -> Result<f32, OutOfRange> {
    // a NaN is in no range
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    let got = value.to_string();
    Err(OutOfRange { expected, got })
}

/// Divides the logits; 0 is greedy.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Temperature(f32);

impl Temperature {
    /// Always the likeliest token, ties to the lowest id.
    pub const GREEDY: Self = Self(0.0);

    /// Between 0 and 2, as OpenAI's API has it.
    pub fn new(value: f32) -> Result<Self, OutOfRange> {
        within(value, 0.0, 2.0, "between 0 and 2").map(Self)
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Nucleus sampling: the smallest set of likeliest tokens with this mass.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopP(f32);

impl TopP {
    /// Keeps every token.
    pub const ALL: Self = Self(1.0);

    /// Between 0 and 1; 0 keeps the likeliest token alone.
    pub fn new(value: f32) -> Result<Self, OutOfRange> {
        within(value, 0.0, 1.0, "between 0 and 1").map(Self)
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// How many of the likeliest tokens can be drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopK(Option<NonZeroU32>);

impl TopK {
    /// Keeps every token.
    pub const ALL: Self = Self(None);

    /// At least 1; 0 and -1 keep every token, as in vLLM's API.
    pub fn new(count: i64) -> Result<Self, OutOfRange> {
        let kept = match count {
            -1 | 0 => None,
            _ => match u32::try_from(count) {
                Ok(count) => NonZeroU32::new(count),
                Err(_) => {
                    let got = count.to_string();
                    return Err(OutOfRange { expected: "between 1 and 4294967295, or -1", got });
                }
            },
        };
        Ok(Self(kept))
    }

    /// The number; `None` is all.
    pub fn get(self) -> Option<NonZeroU32> {
        self.0
    }
}

/// Keeps the tokens whose probability is at least this part of the likeliest one's (Nguyen et
/// al., arXiv 2407.01082).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MinP(f32);

impl MinP {
    /// Keeps every token.
    pub const ALL: Self = Self(0.0);

    /// Between 0 and 1; 1 keeps the likeliest token alone, and its equals.
    pub fn new(value: f32) -> Result<Self, OutOfRange> {
        within(value, 0.0, 1.0, "between 0 and 1").map(Self)
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Makes tokens of the prompt and of the output less likely: it divides logits above 0 and
/// multiplies those below (Keskar et al., arXiv 1909.05858, as vLLM and Transformers have it).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RepetitionPenalty(f32);

impl RepetitionPenalty {
    /// No penalty.
    pub const NONE: Self = Self(1.0);

    /// Between 0.01 and 100, so that no logit leaves the range of its type; below 1 repeated
    /// tokens become likelier.
    pub fn new(value: f32) -> Result<Self, OutOfRange> {
        within(value, 0.01, 100.0, "between 0.01 and 100").map(Self)
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// A frequency or presence penalty, subtracted from logits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Penalty(f32);

impl Penalty {
    /// No penalty.
    pub const NONE: Self = Self(0.0);

    /// Between -2 and 2, as OpenAI's API has it.
    pub fn new(value: f32) -> Result<Self, OutOfRange> {
        within(value, -2.0, 2.0, "between -2 and 2").map(Self)
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Added to the logits of single tokens. Ids are checked against the logits' width by
/// `Engine::submit`, because only the engine knows it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LogitBias(BTreeMap<TokenId, f32>);

impl LogitBias {
    /// The most entries that one request may have.
    pub const ENTRIES_MAX: usize = 1024;

    /// At most [`Self::ENTRIES_MAX`] entries, each between -100 and 100.
    pub fn new(entries: BTreeMap<TokenId, f32>) -> Result<Self, OutOfRange> {
        if entries.len() > Self::ENTRIES_MAX {
            let got = format!("{} entries", entries.len());
            return Err(OutOfRange { expected: "at most 1024 entries", got });
        }
        for bias in entries.values() {
            within(*bias, -100.0, 100.0, "between -100 and 100")?;
        }
        Ok(Self(entries))
    }

    /// The entries by id.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, f32)> + '_ {
        self.0.iter().map(|(id, bias)| (*id, *bias))
    }
}

/// How many likeliest tokens are reported beside the one drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopLogprobs(u8);

impl TopLogprobs {
    /// Between 0 and 20, as OpenAI's API has it.
    pub fn new(count: u32) -> Result<Self, OutOfRange> {
        if count > 20 {
            let got = count.to_string();
            return Err(OutOfRange { expected: "between 0 and 20", got });
        }
        Ok(Self(count as u8))
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// Where the draws of a request come from: (seed, choice, index) names each draw, so that a
/// result never depends on where or beside what it was computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64);

/// Every number that a draw depends on, with all defaults resolved.
#[derive(Clone, PartialEq, Debug)]
pub struct Sampling {
    /// Divides the logits.
    pub temperature: Temperature,
    /// Mass of the nucleus, out of what `min_p` and `top_k` keep.
    pub top_p: TopP,
    /// How many of the likeliest tokens stay.
    pub top_k: TopK,
    /// How likely a token must be against the likeliest to stay.
    pub min_p: MinP,
    /// Seed of every draw of the request.
    pub seed: Seed,
    /// For tokens of the prompt and of the output.
    pub repetition_penalty: RepetitionPenalty,
    /// Per earlier occurrence in the output.
    pub frequency_penalty: Penalty,
    /// Once for any earlier occurrence in the output.
    pub presence_penalty: Penalty,
    /// Added to single tokens.
    pub logit_bias: LogitBias,
    /// Whether log-probabilities are reported, and how many alternatives with them. They are
    /// those of the model: before temperature, penalties and bias.
    pub logprobs: Option<TopLogprobs>,
}

impl Default for Sampling {
    /// OpenAI's defaults, with seed 0.
    fn default() -> Self {
        Self {
            temperature: Temperature(1.0),
            top_p: TopP::ALL,
            top_k: TopK::ALL,
            min_p: MinP::ALL,
            seed: Seed(0),
            repetition_penalty: RepetitionPenalty::NONE,
            frequency_penalty: Penalty::NONE,
            presence_penalty: Penalty::NONE,
            logit_bias: LogitBias::default(),
            logprobs: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused() {
        let shown = |result: Result<Temperature, OutOfRange>| match result {
            Ok(value) => value.get().to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown(Temperature::new(0.0)), "0");
        assert_eq!(shown(Temperature::new(2.0)), "2");
        assert_eq!(shown(Temperature::new(2.1)), "must be between 0 and 2, got 2.1");
        assert_eq!(shown(Temperature::new(-0.1)), "must be between 0 and 2, got -0.1");
        assert_eq!(shown(Temperature::new(f32::NAN)), "must be between 0 and 2, got NaN");
        assert!(TopP::new(f32::INFINITY).is_err());
        assert!(MinP::new(1.0).is_ok() && MinP::new(1.1).is_err() && MinP::new(f32::NAN).is_err());
        let repetition = |value| RepetitionPenalty::new(value).is_ok();
        assert!(repetition(0.01) && repetition(100.0) && !repetition(0.0) && !repetition(f32::NAN));
        assert!(Penalty::new(-2.0).is_ok() && Penalty::new(-2.01).is_err());
        assert!(TopLogprobs::new(20).is_ok() && TopLogprobs::new(21).is_err());
        let bias = |value| LogitBias::new(BTreeMap::from([(TokenId(1), value)]));
        assert!(bias(100.0).is_ok() && bias(100.5).is_err() && bias(f32::NAN).is_err());
    }

    #[test]
    fn top_k_has_two_names_for_all() {
        assert_eq!((TopK::new(0), TopK::new(-1)), (Ok(TopK::ALL), Ok(TopK::ALL)));
        assert_eq!(TopK::new(40).unwrap().get().map(NonZeroU32::get), Some(40));
        for count in [-2, 1 << 32, i64::MIN, i64::MAX] {
            let expected = format!("must be between 1 and 4294967295, or -1, got {count}");
            assert_eq!(TopK::new(count).unwrap_err().to_string(), expected);
        }
    }
}
