//! How many tokens a step may read, so that it takes about as long as it should.
//!
//! Chunks may be cut anywhere without changing a result, so the clock may decide where.

use std::time::Duration;

use crate::kv::BLOCK_TOKENS;

/// How long a step should take while someone waits for its next token.
const STEP: Duration = Duration::from_millis(50);
/// How long a step should take otherwise. A request that arrives or is cancelled waits for it.
const STEP_ALONE: Duration = Duration::from_millis(300);
/// A step of fewer tokens says more of the weights that it read than of its tokens.
const TOKENS_MIN: u32 = BLOCK_TOKENS;
/// How much the last step counts.
const LAST: f64 = 0.2;

/// What a token costs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Seconds a token, in steps of many tokens.
    token: Option<f64>,
}

impl Pace {
    /// A step of so many tokens took so long.
    pub(super) fn observe(&mut self, tokens: u32, took: Duration) {
        if tokens >= TOKENS_MIN {
            let now = took.as_secs_f64() / f64::from(tokens);
            let before = self.token.unwrap_or(now);
            self.token = Some(before + LAST * (now - before));
        }
    }

    /// Tokens of the next step, at most `most`: at least a block beyond the decoding sequences,
    /// so that prompts get on whatever happens.
    pub(super) fn tokens(&self, decoding: u32, most: u32) -> u32 {
        let Some(token) = self.token.filter(|token| *token > 0.0) else { return most };
        let target = if decoding > 0 { STEP } else { STEP_ALONE };
        let fits = (target.as_secs_f64() / token).min(f64::from(most)) as u32;
        fits.max(decoding.saturating_add(TOKENS_MIN)).min(most)
    }

    /// How long it takes to read so many tokens; nothing as long as nothing is known.
    pub(super) fn estimate(&self, tokens: u32) -> Duration {
        Duration::from_secs_f64(self.token.unwrap_or(0.0) * f64::from(tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_as_long_as_its_time_allows() {
        let mut pace = Pace::default();
        assert_eq!(pace.tokens(0, 256), 256);
        pace.observe(1, Duration::from_secs(9));
        assert_eq!(pace.tokens(0, 256), 256);
        // 1 ms a token
        pace.observe(100, Duration::from_millis(100));
        assert_eq!((pace.tokens(3, 256), pace.tokens(0, 512)), (50, 300));
        assert_eq!((pace.tokens(100, 256), pace.tokens(250, 256)), (132, 256));
        assert_eq!(pace.estimate(2000), Duration::from_secs(2));
        (0..99).for_each(|_| pace.observe(100, Duration::from_millis(200)));
        assert_eq!(pace.tokens(3, 256), 35);
    }
}
