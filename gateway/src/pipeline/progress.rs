//! What is known of a run so far.

use std::time::{Duration, Instant};

use audit::{Attempt, Digest, Durations, Ending, Terminal, Timestamp};
use engine_api::{Choices, Event, FinishReason, OutputEvent, Placement, Usage};

/// Gathers what the terminal entry says.
pub(super) struct Progress {
    request: String,
    received: Instant,
    dispatched: Option<Instant>,
    prompt_tokens: u32,
    first_token: Option<Instant>,
    attempts: Vec<Attempt>,
    /// By choice; `None` while one runs.
    finished: Vec<Option<FinishReason>>,
    /// By choice, whether it ended with a whole call.
    called: Vec<bool>,
    /// Names of the tools called.
    tool_calls: Vec<String>,
    usage: Option<Usage>,
    error: Option<&'static str>,
}

/// Placements that are entered at most: a request that moves more often is stopped long
/// before by its engine.
const ATTEMPTS_MAX: usize = 16;

impl Progress {
    pub fn new(request: String, received: Instant) -> Self {
        Self {
            request,
            received,
            dispatched: None,
            prompt_tokens: 0,
            first_token: None,
            attempts: Vec::new(),
            finished: Vec::new(),
            called: Vec::new(),
            tool_calls: Vec::new(),
            usage: None,
            error: None,
        }
    }

    /// The prompt has so many tokens.
    pub fn counted(&mut self, prompt_tokens: u32) {
        self.prompt_tokens = prompt_tokens;
    }

    /// When the request came.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// The engine gets the request now.
    pub fn dispatched(&mut self, choices: Choices, now: Instant) {
        self.dispatched = Some(now);
        self.finished = vec![None; usize::from(choices.get())];
        self.called = vec![false; usize::from(choices.get())];
    }

    /// Whether the event belongs to a choice that was asked for and that runs.
    pub fn expects(&self, event: &Event) -> bool {
        let choice = match event {
            Event::Token(token) => token.choice,
            Event::Output { choice, .. } => *choice,
            Event::Finished(finished) => finished.choice,
            Event::Placed(_) | Event::Usage(..) => return true,
        };
        self.finished.get(usize::from(choice)).is_some_and(Option::is_none)
    }

    /// Enters an event.
    pub fn observe(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Placed(placement) if self.attempts.len() < ATTEMPTS_MAX => {
                self.attempts.push(attempt(placement));
            }
            Event::Placed(_) => {}
            Event::Output { choice, output } => self.output(usize::from(*choice), output),
            Event::Token(_) => drop(self.first_token.get_or_insert(now)),
            Event::Finished(finished) => {
                if let Some(choice) = self.finished.get_mut(usize::from(finished.choice)) {
                    *choice = Some(finished.reason);
                }
            }
            Event::Usage(usage, _) => self.usage = Some(*usage),
        }
    }

    fn output(&mut self, choice: usize, output: &OutputEvent) {
        match output {
            OutputEvent::CallStarted { name, .. }
                if self.tool_calls.len() < Terminal::TOOL_CALLS_MAX =>
            {
                self.tool_calls.push(name.clone());
            }
            OutputEvent::CallFinished { .. } | OutputEvent::CallAbandoned { .. } => {
                if let Some(called) = self.called.get_mut(choice) {
                    *called = matches!(output, OutputEvent::CallFinished { .. });
                }
            }
            _ => {}
        }
    }

    /// The request failed with this code.
    pub fn failed(&mut self, code: &'static str) {
        self.error = Some(code);
    }

    /// What was used, when every choice has finished.
    pub fn complete(&self) -> Option<Usage> {
        self.usage.filter(|_| self.finished.iter().all(Option::is_some))
    }

    /// Length of the prompt, in tokens; 0 before it is counted.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// The last entry; the index of its decision is entered by the ledger.
    pub fn terminal(&self, outcome: Ending, now: Instant) -> Terminal {
        let after = |at: Instant| at.saturating_duration_since(self.received);
        let ms = |duration: Duration| duration.as_millis() as u64;
        let reason = |(reason, called): (Option<FinishReason>, bool)| {
            Some(match reason? {
                FinishReason::Stop if called => "tool_calls".to_owned(),
                FinishReason::Stop => "stop".to_owned(),
                FinishReason::Length => "length".to_owned(),
            })
        };
        let choices = self.finished.iter().copied().zip(self.called.iter().copied());
        Terminal {
            time: Timestamp::now(),
            request: self.request.clone(),
            decision: 0,
            outcome,
            attempts: self.attempts.clone(),
            usage: self.usage.map(|usage| audit::Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                cached_tokens: usage.cached_tokens,
            }),
            finish_reasons: choices.map_while(reason).collect(),
            error: self.error.map(str::to_owned),
            durations: Durations {
                dispatched_ms: self.dispatched.map(after).map(ms),
                first_token_ms: self.first_token.map(after).map(ms),
                total_ms: Some(ms(after(now))),
            },
            tool_calls: self.tool_calls.clone(),
        }
    }
}

fn attempt(placement: &Placement) -> Attempt {
    Attempt {
        partition: placement.partition.as_str().to_owned(),
        zone: placement.zone.as_str().to_owned(),
        epoch: placement.epoch.0,
        numerics: placement.numerics.as_str().to_owned(),
        model_digest: Digest(placement.model_digest.0),
    }
}
