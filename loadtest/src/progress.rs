//! What is seen while it runs: a bar on a terminal, a line now and then otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::statistics::Statistics;

/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a run is, on standard error.
#[derive(Debug)]
pub enum Progress {
    /// A person watches.
    Bar(ProgressBar),
    /// A file or a program takes it.
    Lines {
        /// How many requests there will be.
        planned: u64,
        /// When the next line is due.
        due: Instant,
    },
}

impl Progress {
    /// Of a run of so many requests.
    pub fn new(planned: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { planned, due: Instant::now() + LINE_EVERY };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed_precise} {msg}");
        let bar = ProgressBar::new(planned);
        bar.set_style(style.expect("the template is valid"));
        Self::Bar(bar)
    }

    /// Shows what has been counted.
    pub fn show(&mut self, statistics: &Statistics) {
        let (completed, failed) = (statistics.completed, statistics.failed());
        match self {
            Self::Bar(bar) => {
                bar.set_position(completed + failed);
                bar.set_message(format!(
                    "{} tokens, ttft p50 {:.0} ms, {failed} failed",
                    statistics.output_tokens,
                    statistics.first.percentile(50.0),
                ));
            }
            Self::Lines { planned, due } if Instant::now() >= *due => {
                *due = Instant::now() + LINE_EVERY;
                eprintln!("{completed} of {planned} completed, {failed} failed");
            }
            Self::Lines { .. } => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
