//! How many tokens a step may read, so that it takes about as long as it should.
//!
//! Chunks may be cut anywhere without changing a result, so the clock may decide where.

use std::time::Duration;

use super::Plan;
use crate::kv::BLOCK_TOKENS;

/// How long a step should take while someone waits for its next token. Longer ones read prompts in
/// fewer steps, shorter ones let answers come more evenly; nobody's whole answer is later by either.
const STEP: Duration = Duration::from_millis(75);
/// How long a step should take otherwise. A request that arrives or is cancelled waits for it.
const STEP_ALONE: Duration = Duration::from_millis(300);
/// A step of fewer tokens of prompts says more of the weights that it read than of its tokens.
const TOKENS_MIN: u32 = BLOCK_TOKENS;
/// How much the last step counts.
const LAST: f64 = 0.2;
/// A step that takes so many times what is usual says more of the machine than of steps.
const OUTLIER: f64 = 4.0;

/// What steps take, in seconds: those that only decode, by the number of their rows, and what each
/// row of a prompt adds to one.
///
/// The two are told apart because the first rows of a step cost little beside the weights that it
/// reads, and because rows that decode have their logits computed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Steps of 1, 2 to 3, 4 to 7, ... rows.
    decoding: [Option<f64>; 16],
    /// A row of a prompt.
    prompt: Option<f64>,
}

impl Pace {
    /// What was planned took so long.
    pub(super) fn observe(&mut self, plan: &Plan, took: Duration) {
        let (decoding, prompts) = plan.rows();
        let took = took.as_secs_f64();
        if prompts >= TOKENS_MIN {
            // what a step of nothing else takes is known once there was one
            let decoded = self.known(decoding).unwrap_or(0.0);
            // even where that was too much, a row is not free
            let rest = (took - decoded).max(took / f64::from(4 * (decoding + prompts)));
            learn(&mut self.prompt, rest / f64::from(prompts));
        } else if decoding > 0 && prompts == 0 {
            learn(&mut self.decoding[size(decoding)], took);
        }
    }

    /// Tokens of prompts that the next step may read beside its decoding rows, `most` in all: at
    /// least a block, so that prompts get on whatever happens.
    pub(super) fn prompts(&self, decoding: u32, most: u32) -> u32 {
        let room = most.saturating_sub(decoding);
        let Some(token) = self.prompt.filter(|token| *token > 0.0) else { return room };
        let target = if decoding > 0 { STEP } else { STEP_ALONE }.as_secs_f64();
        let decoded = match self.known(decoding) {
            Some(decoded) => decoded,
            None => token * f64::from(decoding),
        };
        let fits = ((target - decoded).max(0.0) / token).round().min(f64::from(most)) as u32;
        fits.max(TOKENS_MIN).min(room)
    }

    /// How long it takes to read so many tokens; nothing as long as nothing is known.
    pub(super) fn estimate(&self, tokens: u32) -> Duration {
        Duration::from_secs_f64(self.prompt.unwrap_or(0.0) * f64::from(tokens))
    }

    /// What a step of so many decoding rows takes: as one of about as many took, or the next fewer.
    fn known(&self, decoding: u32) -> Option<f64> {
        let sizes = self.decoding.get(..=size(decoding))?;
        sizes.iter().rev().find_map(|took| *took).filter(|_| decoding > 0)
    }
}

fn size(rows: u32) -> usize {
    (rows.max(1).ilog2() as usize).min(15)
}

fn learn(known: &mut Option<f64>, now: f64) {
    let before = known.unwrap_or(now);
    let now = if before > 0.0 { now.min(OUTLIER * before) } else { now };
    *known = Some(before + LAST * (now - before));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{Chunk, SequenceId};

    fn plan(decoding: u32, prompts: u32) -> Plan {
        let chunk = |request: u32, length, drawn| Chunk {
            sequence: SequenceId { request: request.into(), choice: 0 },
            start: 0,
            length,
            drawn,
        };
        let mut chunks: Vec<_> = (0..decoding).map(|request| chunk(request, 1, 1)).collect();
        chunks.extend((prompts > 0).then(|| chunk(decoding, prompts, 0)));
        Plan { chunks, ..Plan::default() }
    }

    #[test]
    fn a_step_is_as_long_as_its_time_allows() {
        let ms = Duration::from_millis;
        let mut pace = Pace::default();
        assert_eq!((pace.prompts(0, 256), pace.prompts(6, 256)), (256, 250));
        // 1 ms a token
        pace.observe(&plan(0, 100), ms(100));
        assert_eq!((pace.prompts(3, 256), pace.prompts(0, 512)), (72, 300));
        assert_eq!((pace.prompts(100, 256), pace.prompts(250, 256)), (32, 6));
        assert_eq!(pace.estimate(2000), Duration::from_secs(2));
        // rows that decode take 5 ms a step, however many they are
        pace.observe(&plan(2, 0), ms(5));
        assert_eq!((pace.prompts(3, 256), pace.prompts(40, 256)), (70, 70));
        pace.observe(&plan(40, 0), ms(30));
        assert_eq!((pace.prompts(3, 256), pace.prompts(40, 256)), (70, 45));
        // a mixed step says what its prompt took
        pace.observe(&plan(2, 50), ms(55));
        assert_eq!(pace.prompts(3, 256), 70);
        (0..99).for_each(|_| pace.observe(&plan(2, 45), ms(95)));
        assert_eq!(pace.prompts(1, 256), 37);
    }

    #[test]
    fn one_step_that_hung_is_soon_forgotten() {
        let mut pace = Pace::default();
        pace.observe(&plan(0, 100), Duration::from_millis(100));
        pace.observe(&plan(0, 100), Duration::from_secs(30));
        assert!(pace.prompts(0, 256) > 180);
    }
}
