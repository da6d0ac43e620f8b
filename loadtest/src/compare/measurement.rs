//! One workload on one server, once.

use std::time::Duration;

use serde::Serialize;

use crate::sample::Answer;

/// What it showed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measurement {
    /// Seconds, from the first request to the last answer.
    pub wall_s: f64,
    /// How many requests.
    pub requests: usize,
    /// Mean length of a prompt, in tokens as the server counts them.
    pub prompt_tokens_mean: f64,
    /// Tokens of all answers, by the wall.
    pub output_tokens_per_s: f64,
    /// Tokens of all prompts, by the wall; those that a cache had too.
    pub input_tokens_per_s: f64,
    /// Time to the first text, of half of all requests.
    pub ttft_p50_ms: f64,
    /// Time to the first text, of 99 in 100.
    pub ttft_p99_ms: f64,
    /// Time of a token after the first, of half of all requests.
    pub itl_p50_ms: f64,
}

impl Measurement {
    /// Sums answers up. There is at least one.
    pub fn new(answers: &[Answer], wall: Duration) -> Self {
        let wall_s = wall.as_secs_f64();
        let sum = |of: fn(&Answer) -> u64| answers.iter().map(of).sum::<u64>() as f64;
        let (input, output) =
            (sum(|answer| answer.tokens.prompt), sum(|answer| answer.tokens.output));
        let first = |part| quantile(answers.iter().map(|answer| answer.first), part);
        Self {
            wall_s,
            requests: answers.len(),
            prompt_tokens_mean: input / answers.len() as f64,
            output_tokens_per_s: output / wall_s,
            input_tokens_per_s: input / wall_s,
            ttft_p50_ms: first(0.5),
            ttft_p99_ms: first(0.99),
            itl_p50_ms: quantile(answers.iter().map(between_tokens), 0.5),
        }
    }
}

/// From the first text to the last, by the tokens after the first.
fn between_tokens(answer: &Answer) -> Duration {
    let after_first = u32::try_from(answer.tokens.output.saturating_sub(1)).unwrap_or(u32::MAX);
    answer.gaps.iter().sum::<Duration>() / after_first.max(1)
}

/// The time that `part` of all do not exceed, in milliseconds.
fn quantile(times: impl Iterator<Item = Duration>, part: f64) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let at = ((part * times.len() as f64) as usize).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Tokens;

    #[test]
    fn figures_are_those_of_the_answers() {
        let answer = |first_ms| Answer {
            first: Duration::from_millis(first_ms),
            total: Duration::from_millis(900),
            gaps: vec![Duration::from_millis(30), Duration::from_millis(90)],
            tokens: Tokens { prompt: 100, output: 5 },
            text: String::new(),
        };
        let answers = [answer(100), answer(300), answer(200), answer(400)];
        let measurement = Measurement::new(&answers, Duration::from_secs(2));
        assert_eq!((measurement.requests, measurement.prompt_tokens_mean), (4, 100.0));
        assert_eq!(
            (measurement.output_tokens_per_s, measurement.input_tokens_per_s),
            (10.0, 200.0)
        );
        assert_eq!((measurement.ttft_p50_ms, measurement.ttft_p99_ms), (300.0, 400.0));
        // two pieces came after the first, which held four tokens
        assert_eq!(measurement.itl_p50_ms, 30.0);
    }
}
