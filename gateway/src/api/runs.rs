//! Requests whose answers go out in one response.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use engine_api::{EngineError, Event};
use futures_util::future::join_all;

use crate::error::Refused;
use crate::pipeline::Run;

/// One run for each prompt of a request, at least one. Dropping it cancels all of them.
#[must_use]
pub struct Runs {
    runs: Vec<Run>,
    /// By run: whether more can come of it.
    open: Vec<bool>,
    /// Which is asked first, so that none waits for the others' sake.
    turn: usize,
}

impl From<Run> for Runs {
    fn from(run: Run) -> Self {
        Self::new(vec![run])
    }
}

impl Runs {
    /// Runs in the order of their prompts.
    pub fn new(runs: Vec<Run>) -> Self {
        assert!(!runs.is_empty(), "a request has a prompt");
        Self { open: vec![true; runs.len()], runs, turn: 0 }
    }

    /// The runs in the order of their prompts.
    pub fn all(&self) -> &[Run] {
        &self.runs
    }

    /// The next event of any, with the index of its prompt; `None` after the last of all.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(usize, Result<Event, EngineError>)> {
        poll_fn(|context| {
            let count = self.runs.len();
            for step in 0..count {
                let index = (self.turn + step) % count;
                if !self.open[index] {
                    continue;
                }
                let polled = pin!(self.runs[index].next()).poll(context);
                match polled {
                    Poll::Ready(Some(event)) => {
                        self.turn = (index + 1) % count;
                        return Poll::Ready(Some((index, event)));
                    }
                    Poll::Ready(None) => self.open[index] = false,
                    Poll::Pending => {}
                }
            }
            if self.open.contains(&true) { Poll::Pending } else { Poll::Ready(None) }
        })
        .await
    }

    /// The next event if one is there already.
    pub fn next_ready(&mut self) -> Option<(usize, Result<Event, EngineError>)> {
        let count = self.runs.len();
        let turns = (0..count).map(|step| (self.turn + step) % count);
        for index in turns.filter(|index| self.open[*index]).collect::<Vec<_>>() {
            if let Some(event) = self.runs[index].next_ready() {
                self.turn = (index + 1) % count;
                return Some((index, event));
            }
        }
        None
    }

    /// Ends runs whose events have ended. Only when this is well is the answer complete.
    pub async fn settle(self) -> Result<(), Refused> {
        let settled = join_all(self.runs.into_iter().map(Run::settle)).await;
        settled.into_iter().collect()
    }

    /// Ends one run that failed under way, and the others with it.
    pub async fn fail(mut self, prompt: usize, error: EngineError) -> Refused {
        let failed = self.runs.swap_remove(prompt);
        let (refused, _) = futures_util::join!(failed.fail(error), cancel(self.runs));
        refused
    }

    /// Ends runs that nobody waits for any more.
    pub async fn cancel(self) {
        cancel(self.runs).await;
    }
}

async fn cancel(runs: Vec<Run>) {
    join_all(runs.into_iter().map(Run::cancel)).await;
}
