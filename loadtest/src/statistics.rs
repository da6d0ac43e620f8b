//! Samples, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::sample::{Answer, Sample};

/// A day, in microseconds: longer times count as this.
const MICROSECONDS_MAX: u64 = 86_400_000_000;
/// Kinds of failure that are told apart; a server can make up any number of error codes.
const FAILURES_MAX: usize = 64;

/// How some time is distributed, to three significant digits.
#[derive(Debug)]
pub struct Distribution(Histogram<u64>);

impl Distribution {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROSECONDS_MAX, 3);
        Self(histogram.expect("the bounds are valid"))
    }

    fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MICROSECONDS_MAX));
    }

    /// Mean, in milliseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean() / 1e3
    }

    /// Standard deviation, in milliseconds.
    pub fn deviation(&self) -> f64 {
        self.0.stdev() / 1e3
    }

    /// The time that `percent` of all do not exceed, in milliseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }

    /// The longest, in milliseconds.
    pub fn max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

/// Everything that a run showed. Its size does not grow with the run.
#[derive(Debug)]
pub struct Statistics {
    /// Requests with a whole answer.
    pub completed: u64,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// Tokens of the prompts of completed requests.
    pub input_tokens: u64,
    /// Tokens of their answers.
    pub output_tokens: u64,
    /// Time to the first text.
    pub first: Distribution,
    /// Mean time of each token after the first, one value a request.
    pub per_token: Distribution,
    /// Between pieces of text, one value a gap.
    pub gap: Distribution,
    /// Time to the end.
    pub total: Distribution,
    /// How late the client sent.
    pub lag: Distribution,
}

impl Statistics {
    /// Of nothing.
    pub fn new() -> Self {
        Self {
            completed: 0,
            failures: BTreeMap::new(),
            input_tokens: 0,
            output_tokens: 0,
            first: Distribution::new(),
            per_token: Distribution::new(),
            gap: Distribution::new(),
            total: Distribution::new(),
            lag: Distribution::new(),
        }
    }

    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Counts one request.
    pub fn add(&mut self, sample: &Sample) {
        self.lag.add(sample.lag);
        match &sample.outcome {
            Ok(answer) => self.add_answer(answer),
            Err(failure) => self.add_failure(failure.to_string()),
        }
    }

    fn add_answer(&mut self, answer: &Answer) {
        self.completed += 1;
        self.input_tokens += answer.tokens.prompt;
        self.output_tokens += answer.tokens.output;
        self.first.add(answer.first);
        self.total.add(answer.total);
        answer.gaps.iter().for_each(|gap| self.gap.add(*gap));
        if let Some(time) = answer.per_token() {
            self.per_token.add(time);
        }
    }

    fn add_failure(&mut self, name: String) {
        let known = self.failures.contains_key(&name);
        let name = if known || self.failures.len() < FAILURES_MAX { name } else { "other".into() };
        *self.failures.entry(name).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Tokens;
    use crate::sample::Failure;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= expected * 1e-3, "{got} is not {expected}");
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut statistics = Statistics::new();
        for millisecond in 1..=1000 {
            let time = Duration::from_millis(millisecond);
            statistics.add(&Sample {
                lag: Duration::ZERO,
                outcome: Ok(Answer {
                    first: time,
                    total: time * 5,
                    gaps: vec![time, time * 3],
                    tokens: Tokens { prompt: 10, output: 3 },
                    text: String::new(),
                }),
            });
        }
        assert_eq!((statistics.completed, statistics.failed()), (1000, 0));
        assert_eq!((statistics.input_tokens, statistics.output_tokens), (10_000, 3000));
        close(statistics.first.mean(), 500.5);
        close(statistics.first.percentile(50.0), 500.0);
        close(statistics.first.percentile(90.0), 900.0);
        close(statistics.first.percentile(99.0), 990.0);
        close(statistics.first.max(), 1000.0);
        close(statistics.first.deviation(), 288.67);
        close(statistics.per_token.mean(), 1001.0);
        close(statistics.gap.max(), 3000.0);
        close(statistics.total.percentile(50.0), 2500.0);
        assert_eq!(statistics.lag.max(), 0.0);
    }

    #[test]
    fn failures_are_counted_by_code_and_bounded() {
        let mut statistics = Statistics::new();
        let mut fail = |failure| {
            statistics.add(&Sample { lag: Duration::ZERO, outcome: Err(failure) });
        };
        fail(Failure::Status(429, Some("rate_limited".into())));
        fail(Failure::Status(429, Some("rate_limited".into())));
        (0..100).for_each(|code| fail(Failure::Stream(code.to_string())));
        assert_eq!(statistics.failures["http 429 rate_limited"], 2);
        assert_eq!(statistics.failures.len(), FAILURES_MAX + 1);
        assert_eq!(statistics.failed(), 102);
    }

    #[test]
    fn nothing_measured_is_zero() {
        let nothing = Distribution::new();
        assert_eq!((nothing.mean(), nothing.percentile(99.0), nothing.max()), (0.0, 0.0, 0.0));
    }
}
