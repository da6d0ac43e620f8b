//! What the audit log says of a decision.

use std::num::NonZeroU32;

use audit::{Decision, Deny, Digest, Embedding, Outcome, Parameters, Timestamp, Zone};
use engine_api::{EmbeddingInputs, MinP, RepetitionPenalty, Submission};
use policy::{Candidate, Facts, Permit};

use super::demanded::demanded;
use super::{Arrival, ChatRequest};
use crate::identity::{Principal, PrincipalKind};

/// The entry of a decision, as far as it is known when it is made.
pub fn decision(
    arrival: &Arrival,
    principal: &Principal,
    facts: &Facts,
    verdict: &policy::Decision,
    policies: &policy::Policies,
) -> Decision {
    let zone = |candidate: &Candidate| Zone {
        zone: candidate.zone.as_str().to_owned(),
        jurisdiction: candidate.jurisdiction.as_str().to_owned(),
    };
    let narrowed = facts.narrowed.as_ref().map(|narrowing| {
        narrowing.jurisdictions().iter().map(|one| one.as_str().to_owned()).collect()
    });
    let mut entry = Decision {
        time: Timestamp::now(),
        request: arrival.id.as_str().to_owned(),
        tenant: facts.tenant.as_str().to_owned(),
        principal: who(principal),
        endpoint: arrival.endpoint.to_owned(),
        model: facts.model.clone(),
        model_digest: None,
        candidates: facts.candidates.iter().map(zone).collect(),
        narrowed,
        permitted: Vec::new(),
        outcome: Outcome::Permit,
        rules: Vec::new(),
        policies: Digest(*policies.digest().as_bytes()),
        parameters: None,
        prompt_tokens: None,
        embedding: None,
    };
    match verdict {
        policy::Decision::Permit(permitted) => permit(&mut entry, permitted),
        policy::Decision::Deny(denied) => deny(&mut entry, denied),
    }
    entry
}

fn who(principal: &Principal) -> audit::Principal {
    let kind = match principal.kind() {
        PrincipalKind::ApiKey => audit::PrincipalKind::ApiKey,
        PrincipalKind::Jwt => audit::PrincipalKind::Jwt,
    };
    let key = Some(principal.key().to_owned());
    audit::Principal { kind, subject: principal.subject().to_owned(), key }
}

/// Enters what a permit allows.
pub fn permit(entry: &mut Decision, permit: &Permit) {
    entry.permitted = permit.zones().iter().map(|one| one.zone.as_str().to_owned()).collect();
    entry.rules = permit.rules().iter().map(|rule| rule.as_str().to_owned()).collect();
    entry.outcome = Outcome::Permit;
}

/// Enters why a request may not run.
pub fn deny(entry: &mut Decision, deny: &policy::Deny) {
    entry.permitted.clear();
    entry.rules = vec![deny.rule.as_str().to_owned()];
    entry.outcome = Outcome::Deny(Deny {
        reason: deny.reason.code().to_owned(),
        rule: deny.rule.as_str().to_owned(),
        detail: deny.reason.to_string(),
    });
}

/// The same of a request for vectors.
pub fn embedding(entry: &mut Decision, inputs: &EmbeddingInputs) {
    entry.model_digest = Some(Digest(inputs.model_digest.0));
    entry.prompt_tokens = Some(inputs.tokens());
    let (texts, dimensions) = (inputs.inputs.len() as u32, inputs.dimensions);
    entry.embedding = Some(Embedding { texts, dimensions });
}

/// Enters everything that the result depends on, so that it can be repeated.
pub fn parameters(entry: &mut Decision, request: &ChatRequest, submission: &Submission) {
    let Submission { prompt, sampling, stopping, choices, .. } = submission;
    entry.model_digest = Some(Digest(prompt.model_digest.0));
    entry.prompt_tokens = Some(prompt.ids.len() as u32);
    entry.parameters = Some(Parameters {
        temperature: sampling.temperature.get(),
        top_p: sampling.top_p.get(),
        seed: sampling.seed.0,
        frequency_penalty: sampling.frequency_penalty.get(),
        presence_penalty: sampling.presence_penalty.get(),
        top_k: sampling.top_k.get().map(NonZeroU32::get),
        min_p: Some(sampling.min_p).filter(|min_p| *min_p != MinP::ALL).map(MinP::get),
        repetition_penalty: Some(sampling.repetition_penalty)
            .filter(|penalty| *penalty != RepetitionPenalty::NONE)
            .map(RepetitionPenalty::get),
        logit_bias: sampling.logit_bias.iter().count() as u32,
        max_tokens: stopping.max_tokens.get(),
        min_tokens: stopping.min_tokens,
        stop: stopping.stop.as_slice().len() as u32,
        stop_tokens: Some(stopping.stop_tokens.iter().count() as u32).filter(|count| *count > 0),
        ignore_eos: stopping.ignore_eos,
        choices: choices.get().into(),
        logprobs: sampling.logprobs.map(|top| top.get() as u32),
        stream: request.stream,
        demanded: demanded(request, submission.constraint.as_ref()),
    });
}
