//! What a request did, until it is written down for good.

use std::time::Instant;

use audit::{Decision, Ending, Entry, Recorded};
use engine_api::{Choices, Event, Usage};
use policy::Deny;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Receipt;
use super::ledger::{Closing, Ledger, Writing, unavailable};
use super::progress::Progress;
use crate::error::{Refusal, Refused};

/// The account of one decision. It has to be closed; dropped open, it enters that the request
/// was cancelled.
#[must_use]
pub(super) struct Account {
    ledger: Ledger,
    /// `None` once everything is handed over.
    open: Option<Open>,
    receipt: Option<Receipt>,
    progress: Progress,
}

struct Open {
    decision: Writing,
    place: OwnedSemaphorePermit,
}

impl Account {
    /// Takes a place in the ledger.
    pub fn open(ledger: &Ledger, decision: Decision, received: Instant) -> Result<Self, Refusal> {
        let place = ledger.place()?;
        let progress = Progress::new(decision.request.clone(), received);
        let decision = Writing::Unwritten(Entry::Decision(Box::new(decision)));
        let open = Some(Open { decision, place });
        Ok(Self { ledger: ledger.clone(), open, receipt: None, progress })
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
        let decision = match decision {
            Writing::Unwritten(entry) => Writing::Pending(self.ledger.append(entry)),
            begun => begun,
        };
        let open = self.open.insert(Open { decision, place });
        let outcome = match &mut open.decision {
            Writing::Pending(appending) => appending.await,
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
                Refused { refusal: deny.into(), receipt: self.receipt.take() }
            }
            Err(refusal) => refusal.into(),
        }
    }

    /// Closes the account of a request that was permitted and then refused or failed.
    pub async fn failed(mut self, refusal: Refusal) -> Refused {
        self.progress.failed(refusal.kind().2);
        let closed = match self.record().await {
            Ok(_) => self.close(Ending::Failed).await,
            Err(refusal) => Err(refusal.into()),
        };
        match closed {
            Ok(receipt) => Refused { refusal, receipt },
            Err(refused) => refused,
        }
    }

    /// Hands the terminal entry over and waits until it is durable. Dropping the future takes
    /// nothing back.
    pub async fn close(mut self, ending: Ending) -> Result<Option<Receipt>, Refused> {
        let receipt = self.receipt.take();
        let done = self.hand_over(ending).expect("an account is closed once");
        // no answer: the runtime ends, and the log enters an unknown end when it opens again
        let written = done.await.unwrap_or(Err(Refusal::AuditUnavailable));
        match written {
            Ok(_) => Ok(receipt),
            Err(refusal) => Err(Refused { refusal, receipt }),
        }
    }

    /// The engine gets the request now.
    pub fn dispatched(&mut self, choices: Choices, prompt_tokens: u32) {
        self.progress.dispatched(choices, prompt_tokens, Instant::now());
    }

    /// Whether the event belongs to an answer that was asked for.
    pub fn expects(&self, event: &Event) -> bool {
        self.progress.expects(event)
    }

    /// Enters an event.
    pub fn observe(&mut self, event: &Event) {
        self.progress.observe(event, Instant::now());
    }

    /// What was used, when every choice has finished.
    pub fn complete(&self) -> Option<Usage> {
        self.progress.complete()
    }

    /// Length of the prompt, in tokens; 0 before the dispatch.
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
        let terminal = Box::new(self.progress.terminal(ending, Instant::now()));
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
