//! A request that runs: its events, and what they settle.

use audit::Ending;
use engine_api::{EngineError, Event, EventStream};
use futures_util::stream::Fuse;
use futures_util::{FutureExt, StreamExt};

use super::Receipt;
use super::account::Account;
use crate::error::Refused;
use crate::reservation::{RateLeft, Reservation};
use crate::telemetry;

/// The events of a request, with the account that they go into. It ends in one of
/// [`Self::settle`], [`Self::fail`] and [`Self::cancel`]; dropping it cancels the request,
/// too, and the account sees to its terminal entry.
#[must_use]
pub struct Run {
    /// Fused: it may be polled after its end.
    events: Fuse<EventStream>,
    account: Account,
    reservation: Reservation,
}

impl Run {
    pub(super) fn new(events: EventStream, account: Account, reservation: Reservation) -> Self {
        Self { events: events.fuse(), account, reservation }
    }

    /// The entry of the decision.
    pub fn receipt(&self) -> &Receipt {
        self.account.receipt().expect("a request is recorded before it runs")
    }

    /// What is left of the tenant's rate.
    pub fn rate(&self) -> RateLeft {
        self.reservation.rate()
    }

    /// Length of the prompt, in tokens.
    pub fn prompt_tokens(&self) -> u32 {
        self.account.prompt_tokens()
    }

    /// The next event; `None` after the last. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, EngineError>> {
        let event = self.events.next().await;
        event.map(|event| self.observed(event))
    }

    /// The next event if it is there already.
    pub fn next_ready(&mut self) -> Option<Result<Event, EngineError>> {
        let event = self.events.next().now_or_never().flatten();
        event.map(|event| self.observed(event))
    }

    /// Enters the event into the account. After one of a choice that nobody asked for, nothing
    /// of the engine can be trusted.
    fn observed(&mut self, event: Result<Event, EngineError>) -> Result<Event, EngineError> {
        let event = event?;
        if !self.account.expects(&event) {
            tracing::error!("the engine sent an event of a choice that nobody asked for");
            return Err(EngineError::Internal);
        }
        self.account.observe(&event);
        if let Event::Placed(placement) = &event {
            telemetry::record_placement(placement);
        }
        Ok(event)
    }

    /// Ends a request whose events have ended. Only when this is well is the answer complete:
    /// then its terminal entry is durable.
    pub async fn settle(self) -> Result<(), Refused> {
        let Self { events, account, reservation } = self;
        drop((events, reservation));
        if let Some(usage) = account.complete() {
            telemetry::record_usage(usage);
            let (input, output) = (usage.prompt_tokens, usage.completion_tokens);
            tracing::info!(input, output, "the answer is complete");
            return account.close(Ending::Completed).await.map(drop);
        }
        tracing::error!("the engine's events ended before the answer did");
        Err(account.failed(EngineError::Internal.into()).await)
    }

    /// Ends a request that failed under way.
    pub async fn fail(self, error: EngineError) -> Refused {
        let Self { events, account, reservation } = self;
        drop((events, reservation));
        account.failed(error.into()).await
    }

    /// Ends a request that nobody waits for any more. The engine frees its blocks at once.
    pub async fn cancel(self) {
        let Self { events, account, reservation } = self;
        drop((events, reservation));
        // nobody is left to be told when the entry fails; the ledger has logged it
        let _ = account.close(Ending::Cancelled).await;
    }
}
