//! What is compared.

use super::measurement::Measurement;
use super::workload::Workload;

/// One figure of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Of which.
    pub workload: Workload,
    /// What it is called, with its unit.
    pub name: &'static str,
    /// Whether more of it is better; otherwise less is.
    pub more_is_better: bool,
    /// Where it is.
    pub of: fn(&Measurement) -> f64,
}

const OUT: &str = "tokens out/s";
const IN: &str = "tokens in/s";
const BETWEEN: &str = "between tokens, ms";
const FIRST: &str = "first token, p50 ms";
const FIRST_P99: &str = "first token, p99 ms";

/// All of them, in the order of the table.
pub const FIGURES: [Figure; 9] = [
    more(Workload::Decode, OUT, |m| m.output_tokens_per_s),
    less(Workload::Decode, BETWEEN, |m| m.itl_p50_ms),
    more(Workload::Prefill, IN, |m| m.input_tokens_per_s),
    less(Workload::Prefill, FIRST, |m| m.ttft_p50_ms),
    more(Workload::Batch, OUT, |m| m.output_tokens_per_s),
    less(Workload::Batch, FIRST, |m| m.ttft_p50_ms),
    more(Workload::Agent, OUT, |m| m.output_tokens_per_s),
    less(Workload::Agent, FIRST, |m| m.ttft_p50_ms),
    less(Workload::Agent, FIRST_P99, |m| m.ttft_p99_ms),
];

const fn more(workload: Workload, name: &'static str, of: fn(&Measurement) -> f64) -> Figure {
    Figure { workload, name, more_is_better: true, of }
}

const fn less(workload: Workload, name: &'static str, of: fn(&Measurement) -> f64) -> Figure {
    Figure { workload, name, more_is_better: false, of }
}

impl Figure {
    /// How many times better `ours` is; `None` where one of them is nothing.
    pub fn ratio(&self, ours: f64, theirs: f64) -> Option<f64> {
        ratio(self.more_is_better, ours, theirs)
    }
}

/// How many times better `ours` is; `None` where one of them is nothing.
pub fn ratio(more_is_better: bool, ours: f64, theirs: f64) -> Option<f64> {
    let (over, under) = if more_is_better { (ours, theirs) } else { (theirs, ours) };
    (over > 0.0 && under > 0.0).then(|| over / under)
}
