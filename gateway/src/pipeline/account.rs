//! What a request did, until it is written down for good.

use std::time::Instant;

use audit::{Decision, Ending, Entry, Outcome, Recorded};
use engine_api::{Choices, Event, ModelId, Usage};
use policy::Deny;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Receipt;
use super::ledger::{Closing, Ledger, Writing, unavailable};
use super::progress::Progress;
use crate::error::{Refusal, Refused};
use crate::metrics::{AnswerTimer, Instruments};

/// The account of one decision. It has to be closed; dropped open, it enters that the request
/// was cancelled.
#[must_use]
pub(super) struct Account {
    ledger: Ledger,
    /// `None` once everything is handed over.
    open: Option<Open>,
    receipt: Option<Receipt>,
    progress: Progress,
    instruments: Instruments,
    /// Present while an engine has the request.
    timer: Option<AnswerTimer>,
}

struct Open {
    decision: Writing,
    place: OwnedSemaphorePermit,
}

impl Account {
    /// Takes a place in the ledger.
    pub fn open(
        ledger: &Ledger,
        instruments: &Instruments,
        decision: Decision,
        received: Instant,
    ) -> Result<Self, Refusal> {
        let place = ledger.place()?;
        let progress = Progress::new(decision.request.clone(), received);
        let decision = Writing::Unwritten(Entry::Decision(Box::new(decision)));
        let open = Some(Open { decision, place });
        let (ledger, instruments) = (ledger.clone(), instruments.clone());
        Ok(Self { ledger, open, receipt: None, progress, instruments, timer: None })
    }

    /// Changes the decision before it is written.
    pub fn amend(&mut self, amend: impl FnOnce(&mut Decision)) {
        let open = self.open.as_mut().expect("an account is open until it is closed");
        match &mut open.decision {
            Writing::Unwritten(Entry::Decision(decision)) => amend(decision),
            _ => unreachable!("a decision is amended before it is written"),
        }
    }

    /// Writes the decision and waits until it is durable. Nothing may run before.
    pub async fn record(&mut self) -> Result<Recorded, Refusal> {
        let Open { decision, place } = self.open.take().expect("an account is closed once");
        let since = Instant::now();
        let decision = match decision {
            Writing::Unwritten(entry) => {
                if let Entry::Decision(decision) = &entry {
                    self.instruments.decided(decision.outcome == Outcome::Permit);
                }
                Writing::Pending(self.ledger.append(entry))
            }
            begun => begun,
        };
        let open = self.open.insert(Open { decision, place });
        let outcome = match &mut open.decision {
            Writing::Pending(appending) => self.ledger.durable(appending, since).await,
            Writing::Durable(recorded) => return Ok(recorded.clone()),
            Writing::Unwritten(_) => unreachable!("it was given to the log above"),
        };
        match outcome {
            Ok(recorded) => {
                open.decision = Writing::Durable(recorded.clone());
                self.receipt = Some(Receipt::from(&recorded));
                Ok(recorded)
            }
            Err(error) => {
                // what has no decision in the log has no end there either
                self.open = None;
                Err(unavailable(error))
            }
        }
    }

    /// Writes a denial, which is the end of the request.
    pub async fn denied(mut self, deny: Deny) -> Refused {
        self.amend(|decision| super::entry::deny(decision, &deny));
        match self.record().await {
            Ok(_) => {
                self.open = None;
                let receipt = self.receipt.take();
                self.refused(deny.into(), receipt)
            }
            Err(refusal) => refusal.into(),
        }
    }

    /// Closes the account of a request that was permitted and then refused or failed.
    pub async fn failed(mut self, refusal: Refusal) -> Refused {
        self.progress.failed(refusal.kind().2);
        let prompt_tokens = self.length();
        let closed = match self.record().await {
            Ok(_) => self.close(Ending::Failed).await,
            Err(refusal) => Err(refusal.into()),
        };
        match closed {
            Ok(receipt) => Refused { receipt, prompt_tokens, ..refusal.into() },
            Err(refused) => refused,
        }
    }

    /// Hands the terminal entry over and waits until it is durable. Dropping the future takes
    /// nothing back.
    pub async fn close(mut self, ending: Ending) -> Result<Option<Receipt>, Refused> {
        let (receipt, prompt_tokens) = (self.receipt.take(), self.length());
        let done = self.hand_over(ending).expect("an account is closed once");
        // no answer: the runtime ends, and the log enters an unknown end when it opens again
        let written = done.await.unwrap_or(Err(Refusal::AuditUnavailable));
        match written {
            Ok(_) => Ok(receipt),
            Err(refusal) => Err(Refused { receipt, prompt_tokens, ..refusal.into() }),
        }
    }

    fn refused(&self, refusal: Refusal, receipt: Option<Receipt>) -> Refused {
        Refused { receipt, prompt_tokens: self.length(), ..refusal.into() }
    }

    /// Length of the prompt, once it is counted.
    fn length(&self) -> Option<u32> {
        Some(self.progress.prompt_tokens()).filter(|tokens| *tokens > 0)
    }

    /// The prompt has so many tokens.
    pub fn counted(&mut self, prompt_tokens: u32) {
        self.progress.counted(prompt_tokens);
    }

    /// The engine gets the request now.
    pub fn dispatched(&mut self, choices: Choices, model: ModelId) {
        self.progress.dispatched(choices, Instant::now());
        self.timer = Some(self.instruments.answers.begin(model, self.progress.received()));
    }

    /// Whether the event belongs to an answer that was asked for.
    pub fn expects(&self, event: &Event) -> bool {
        self.progress.expects(event)
    }

    /// Enters an event.
    pub fn observe(&mut self, event: &Event) {
        let now = Instant::now();
        self.progress.observe(event, now);
        if let Some(timer) = &mut self.timer {
            timer.observe(event, now);
        }
    }

    /// What was used, when every choice has finished.
    pub fn complete(&self) -> Option<Usage> {
        self.progress.complete()
    }

    /// Length of the prompt, in tokens; 0 before it is counted.
    pub fn prompt_tokens(&self) -> u32 {
        self.progress.prompt_tokens()
    }

    /// The entry of the decision, once it is durable.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    fn hand_over(
        &mut self,
        ending: Ending,
    ) -> Option<oneshot::Receiver<Result<Recorded, Refusal>>> {
        let Open { decision, place } = self.open.take()?;
        let now = Instant::now();
        if let Some(timer) = self.timer.take() {
            timer.end(ending, now);
        }
        let terminal = Box::new(self.progress.terminal(ending, now));
        let (done, told) = oneshot::channel();
        self.ledger.hand_over(Closing { decision, terminal, place, done });
        Some(told)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let ending = if std::thread::panicking() {
            self.progress.failed(Refusal::Internal.kind().2);
            Ending::Failed
        } else {
            Ending::Cancelled
        };
        // hands over and no more: the ledger's writer does the writing
        let _ = self.hand_over(ending);
    }
}
