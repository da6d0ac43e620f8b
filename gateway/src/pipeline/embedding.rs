//! The path of a request for vectors: the same stages in the same order as a chat's.

use std::time::Instant;

use audit::{Ending, Recorded};
use engine_api::{
    Choices, EmbeddingEvent, EmbeddingInputs, EmbeddingRequest, EmbeddingStream,
    EmbeddingSubmission, EngineError, Event, FinishReason, Finished, ModelKind, Usage,
};
use futures_util::StreamExt;
use policy::{Decision, Facts, Permit};

use super::account::Account;
use super::{Arrival, Pipeline, Receipt, entry};
use crate::error::{Refusal, Refused};
use crate::identity::Principal;
use crate::reservation::{RateLeft, Reservation};
use crate::routing::{self, Target};
use crate::telemetry;

impl Pipeline {
    /// Takes a request from its principal to its dispatch. What is decided is in the audit log before
    /// anything is dispatched; a refusal is in it, too.
    pub async fn start_embedding(
        &self,
        arrival: &Arrival,
        principal: &Principal,
        request: EmbeddingRequest,
    ) -> Result<EmbeddingRun, Refused> {
        let model = request.model.clone();
        self.check_kind(principal, &model, ModelKind::Embed)?;
        let facts: Facts = self.facts(arrival, principal, &model, None)?;
        let decision: Decision = policy::decide(&self.policies, &facts);
        let entry = entry::decision(arrival, principal, &facts, &decision, &self.policies);
        let mut account = Account::open(&self.ledger, &self.instruments, entry, arrival.at)?;
        let mut permit: Permit = match decision {
            Decision::Permit(permit) => permit,
            Decision::Deny(deny) => return Err(account.denied(deny).await),
        };
        let inputs: EmbeddingInputs = match self.engine.prepare_embedding(request).await {
            Ok(inputs) => inputs,
            Err(error) => return Err(account.failed(error.into()).await),
        };
        account.counted(inputs.tokens());
        if let Err(deny) = permit.admit_prompt(inputs.tokens()) {
            return Err(account.denied(deny).await);
        }
        let reserved = self.reservations.reserve(permit.tenant(), permit.limits(), Instant::now());
        let reservation: Reservation = match reserved {
            Ok(reservation) => reservation,
            Err(limit) => return Err(account.failed(limit.into()).await),
        };
        account.amend(|entry| entry::permit(entry, &permit));
        account.amend(|entry| entry::embedding(entry, &inputs));
        let recorded: Recorded = account.record().await?;
        let target: Target = routing::route(&permit, &recorded);
        account.dispatched(Choices::ONE, model);
        let count = inputs.inputs.len();
        let submission = self.embedding_submission(arrival, &permit, inputs);
        let events = self.dispatch_embedding(target, submission);
        Ok(EmbeddingRun { events, count, account, reservation })
    }

    /// What an engine is asked, but for where: its zones come from a target alone.
    fn embedding_submission(
        &self,
        arrival: &Arrival,
        permit: &Permit,
        inputs: EmbeddingInputs,
    ) -> EmbeddingSubmission {
        EmbeddingSubmission {
            id: arrival.id.clone(),
            inputs,
            share: self.disguise.share(permit),
            deadline: Some(arrival.time_left(self.first_token_wait_max)),
            zones: Vec::new(),
            trace: telemetry::outgoing(arrival.trace),
        }
    }

    fn dispatch_embedding(
        &self,
        target: Target,
        submission: EmbeddingSubmission,
    ) -> EmbeddingStream {
        match target {
            Target::Partitions(zones) => {
                self.engine.embed(EmbeddingSubmission { zones: zones.into_zones(), ..submission })
            }
        }
    }
}

/// A request for vectors that runs. Dropping it cancels the request, and the account sees to its
/// terminal entry.
#[must_use]
pub struct EmbeddingRun {
    events: EmbeddingStream,
    /// Inputs.
    count: usize,
    account: Account,
    reservation: Reservation,
}

impl EmbeddingRun {
    /// The entry of the decision.
    pub fn receipt(&self) -> &Receipt {
        self.account.receipt().expect("a request is recorded before it runs")
    }

    /// What is left of the tenant's rate.
    pub fn rate(&self) -> RateLeft {
        self.reservation.rate()
    }

    /// The vectors in the order of their inputs, once the terminal entry is durable.
    pub async fn vectors(mut self) -> Result<(Vec<Vec<f32>>, Usage), Refused> {
        let mut vectors: Vec<Option<Vec<f32>>> = vec![None; self.count];
        while let Some(event) = self.events.next().await {
            match event {
                Ok(EmbeddingEvent::Vector { input, values }) => {
                    match vectors.get_mut(input as usize) {
                        Some(place @ None) => *place = Some(values),
                        _ => {
                            tracing::error!("the engine sent a vector that nobody asked for");
                            return Err(self.fail(EngineError::Internal).await);
                        }
                    }
                }
                Ok(EmbeddingEvent::Placed(placement)) => {
                    telemetry::record_placement(&placement);
                    self.account.observe(&Event::Placed(placement));
                }
                Ok(EmbeddingEvent::Usage(usage, timings)) => {
                    // in accounts and metrics vectors are an answer that came to its end
                    let (choice, reason, text) = (0, FinishReason::Stop, String::new());
                    self.account.observe(&Event::Finished(Finished { choice, reason, text }));
                    self.account.observe(&Event::Usage(usage, timings));
                }
                Err(error) => return Err(self.fail(error).await),
            }
        }
        let whole: Option<Vec<Vec<f32>>> = vectors.into_iter().collect();
        let (Some(vectors), Some(usage)) = (whole, self.account.complete()) else {
            tracing::error!("the engine's events ended before the vectors did");
            return Err(self.fail(EngineError::Internal).await);
        };
        let Self { events, account, reservation, .. } = self;
        drop((events, reservation));
        telemetry::record_usage(usage);
        tracing::info!(input = usage.prompt_tokens, "the vectors are complete");
        account.close(Ending::Completed).await?;
        Ok((vectors, usage))
    }

    async fn fail(self, error: EngineError) -> Refused {
        let Self { events, account, reservation, .. } = self;
        drop((events, reservation));
        account.failed(Refusal::from(error)).await
    }
}
