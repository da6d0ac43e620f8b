//! What a tenant may do with a model without running it: tokenize, render, count.
//!
//! It is subject to the same policy as a run, so whoever may not use a model learns nothing of its
//! tokenizer or template. But it leaves no entry in the audit log: no partition works, nothing is
//! said, and a client that counts before each request would double the log. The tenant's rate and
//! the log of refusals bound it as they bound everything.

use std::time::Instant;

use engine_api::{EngineError, MaxTokens, ModelKind, Prompt};
use policy::{Decision, Permit};

use super::{Arrival, ChatRequest, Pipeline};
use crate::error::Refusal;
use crate::identity::Principal;
use crate::reservation::{RateLeft, Reservation};

/// A request whose prompt may be read, and no more. It counts as one request of its tenant.
pub struct Reading {
    permit: Permit,
    reservation: Reservation,
}

impl Reading {
    /// What is left of the tenant's rate.
    pub fn rate(&self) -> RateLeft {
        self.reservation.rate()
    }
}

impl Pipeline {
    /// Decides whether the prompt of a request may be read.
    pub fn admit_reading(
        &self,
        arrival: &Arrival,
        principal: &Principal,
        request: &ChatRequest,
    ) -> Result<Reading, Refusal> {
        self.check_kind(principal, &request.model, ModelKind::Generate)?;
        let max_tokens = request.max_tokens.map(MaxTokens::get);
        let facts = self.facts(arrival, principal, &request.model, max_tokens)?;
        let permit = match policy::decide(&self.policies, &facts) {
            Decision::Permit(permit) => permit,
            Decision::Deny(deny) => return Err(deny.into()),
        };
        let reserved = self.reservations.reserve(permit.tenant(), permit.limits(), Instant::now());
        Ok(Reading { permit, reservation: reserved? })
    }

    /// The prompt, as a run of the same request would have it.
    pub async fn read(
        &self,
        arrival: &Arrival,
        reading: &Reading,
        request: &ChatRequest,
    ) -> Result<Prompt, EngineError> {
        self.prepare(arrival, &reading.permit, request).await
    }
}
