//! The path of a request. Each stage takes the type that the one before it made.

mod account;
mod arrival;
mod chat_request;
mod demanded;
mod disguise;
mod embedding;
mod entry;
mod kind;
mod ledger;
mod progress;
mod reading;
mod receipt;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::Recorded;
use engine_api::{
    Engine, EngineError, EventStream, MaxTokens, ModelId, ModelKind, PrepareRequest, Prompt, Seed,
    Submission,
};
use policy::{Decision, Facts, Permit, Policies};

use account::Account;

use crate::error::{Refusal, Refused};
use crate::identity::Principal;
use crate::metrics::Instruments;
use crate::reservation::{Reservation, Reservations};
use crate::routing::{self, Places, Target};
use crate::telemetry;

pub use arrival::Arrival;
pub use chat_request::ChatRequest;
pub use disguise::Disguise;
pub use embedding::EmbeddingRun;
pub use ledger::Ledger;
pub use reading::Reading;
pub use receipt::Receipt;
pub use run::Run;

/// Everything that a request passes through on its way to an engine.
pub struct Pipeline {
    /// What runs where.
    pub places: Places,
    /// Who may do what, where.
    pub policies: Arc<Policies>,
    /// What runs models.
    pub engine: Arc<dyn Engine>,
    /// What tenants use.
    pub reservations: Arc<Reservations>,
    /// What is written down.
    pub ledger: Ledger,
    /// How the engine sees tenants.
    pub disguise: Disguise,
    /// How long a request may wait for its first token.
    pub first_token_wait_max: Duration,
    /// How long what a tool may soon answer is kept in the prefix cache before the rest.
    pub tool_wait: Duration,
    /// What is counted.
    pub instruments: Instruments,
}

impl Pipeline {
    /// Takes a request from its principal to its first event. What is decided is in the audit
    /// log before anything is dispatched; a refusal is in it, too.
    pub async fn start(
        &self,
        arrival: &Arrival,
        principal: &Principal,
        request: ChatRequest,
    ) -> Result<Run, Refused> {
        self.check_kind(principal, &request.model, ModelKind::Generate)?;
        let max_tokens = request.max_tokens.map(MaxTokens::get);
        let facts: Facts = self.facts(arrival, principal, &request.model, max_tokens)?;
        let decision: Decision = policy::decide(&self.policies, &facts);
        let entry = entry::decision(arrival, principal, &facts, &decision, &self.policies);
        let mut account = Account::open(&self.ledger, &self.instruments, entry, arrival.at)?;
        let mut permit: Permit = match decision {
            Decision::Permit(permit) => permit,
            Decision::Deny(deny) => return Err(account.denied(deny).await),
        };
        let prompt: Prompt = match self.prepare(arrival, &permit, &request).await {
            Ok(prompt) => prompt,
            Err(error) => return Err(account.failed(error.into()).await),
        };
        account.counted(prompt.ids.len() as u32);
        if let Err(deny) = permit.admit_prompt(prompt.ids.len() as u32) {
            return Err(account.denied(deny).await);
        }
        let reserved = self.reservations.reserve(permit.tenant(), permit.limits(), Instant::now());
        let reservation: Reservation = match reserved {
            Ok(reservation) => reservation,
            Err(limit) => return Err(account.failed(limit.into()).await),
        };
        let submission = self.submission(arrival, &permit, prompt, &request);
        account.amend(|entry| entry::permit(entry, &permit));
        account.amend(|entry| entry::parameters(entry, &request, &submission));
        let recorded: Recorded = account.record().await?;
        let target: Target = routing::route(&permit, &recorded);
        account.dispatched(request.choices, request.model);
        match self.dispatch(target, submission).await {
            Ok(events) => Ok(Run::new(events, account, reservation)),
            Err(error) => Err(account.failed(error.into()).await),
        }
    }

    /// What policy needs to know. A model that is not configured has no facts.
    fn facts(
        &self,
        arrival: &Arrival,
        principal: &Principal,
        model: &ModelId,
        max_tokens: Option<u32>,
    ) -> Result<Facts, Refusal> {
        let Some(candidates) = self.places.of(model) else {
            return Err(EngineError::UnknownModel(model.clone()).into());
        };
        let narrowed = arrival.residency.as_deref().map(|header| self.policies.narrowing(header));
        telemetry::record_facts(principal.tenant(), model);
        Ok(Facts {
            tenant: principal.tenant().clone(),
            model: model.as_str().to_owned(),
            candidates: candidates.to_vec(),
            narrowed: narrowed.transpose()?,
            max_tokens,
        })
    }

    async fn prepare(
        &self,
        arrival: &Arrival,
        permit: &Permit,
        request: &ChatRequest,
    ) -> Result<Prompt, EngineError> {
        let (source, demand) = (request.source.clone(), request.demand.clone());
        let max_tokens = Some(permit.output_tokens_max());
        let (model, now) = (request.model.clone(), arrival.unix_s);
        let namespace = self.disguise.namespace(permit);
        let wanted = PrepareRequest { model, source, demand, namespace, now, max_tokens };
        self.engine.prepare(wanted).await
    }

    /// What an engine is asked, but for where: its zones come from a target alone.
    fn submission(
        &self,
        arrival: &Arrival,
        permit: &Permit,
        prompt: Prompt,
        request: &ChatRequest,
    ) -> Submission {
        Submission {
            id: arrival.id.clone(),
            choices: request.choices,
            sampling: request.sampling(draw_seed),
            stopping: request.stopping(prompt.max_tokens),
            constraint: prompt.answer.constraint.clone(),
            markers: prompt.answer.markers.clone(),
            prompt,
            namespace: self.disguise.namespace(permit),
            share: self.disguise.share(permit),
            priority: request.priority,
            deadline: Some(arrival.time_left(self.first_token_wait_max)),
            // whoever was offered tools comes back with what they said
            hold: request.offers_tools().then_some(self.tool_wait),
            zones: Vec::new(),
            trace: telemetry::outgoing(arrival.trace),
        }
    }

    async fn dispatch(
        &self,
        target: Target,
        submission: Submission,
    ) -> Result<EventStream, EngineError> {
        match target {
            Target::Partitions(zones) => {
                self.engine.submit(Submission { zones: zones.into_zones(), ..submission }).await
            }
        }
    }
}

/// Drawn where the client names none, and recorded, so that the answer can be repeated. It
/// has 53 bits, so that every JSON reader reads it back exactly.
fn draw_seed() -> Seed {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    Seed(u64::from_le_bytes(bytes) >> 11)
}
