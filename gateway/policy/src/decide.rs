//! The decision.

use std::fmt;

use crate::jurisdiction::listed;
use crate::{Candidate, Facts, Jurisdictions, Limits, Policies, PoliciesDigest, Tenant, TenantId};

/// The stable name of a rule, as it stands in permits, denials and the audit log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(&'static str);

impl RuleId {
    /// The tenant has a policy.
    pub const TENANT_KNOWN: Self = Self("tenant-known");
    /// The tenant is not disabled.
    pub const TENANT_ENABLED: Self = Self("tenant-enabled");
    /// The tenant may use the model.
    pub const MODEL_ALLOWED: Self = Self("model-allowed");
    /// The wanted output is within the tenant's limit.
    pub const OUTPUT_LIMIT: Self = Self("output-limit");
    /// The caller's narrowing leaves some of the tenant's jurisdictions.
    pub const NARROWING: Self = Self("narrowing");
    /// A zone of the model lies in a permitted jurisdiction.
    pub const RESIDENCY: Self = Self("residency");
    /// The prompt is within the tenant's limit ([`Permit::admit_prompt`]).
    pub const PROMPT_LIMIT: Self = Self("prompt-limit");

    /// The name.
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What the policies say to a request.
#[derive(Debug)]
pub enum Decision {
    /// It may run, within the permit.
    Permit(Permit),
    /// It may not.
    Deny(Deny),
}

/// Proof that [`decide`] allowed a request: where it may run, and how much it may use. Only
/// `decide` makes one, and it can be neither copied nor read from bytes, so one decision
/// leads to one dispatch.
#[derive(Debug)]
pub struct Permit {
    tenant: Tenant,
    zones: Vec<Candidate>,
    rules: Vec<RuleId>,
    output_tokens_max: u32,
    policies: PoliciesDigest,
}

impl Permit {
    /// Who may.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant.id
    }

    /// Where it may run: never empty, and each in a jurisdiction that the tenant allows.
    pub fn zones(&self) -> &[Candidate] {
        &self.zones
    }

    /// The rules that made it, in order.
    pub fn rules(&self) -> &[RuleId] {
        &self.rules
    }

    /// The policies that it was made under.
    pub fn policies_digest(&self) -> PoliciesDigest {
        self.policies
    }

    /// The tenant's limits.
    pub fn limits(&self) -> &Limits {
        &self.tenant.limits
    }

    /// The longest answer, in tokens per choice: what the caller asked for, or the tenant's
    /// limit where it asked for as much as fits.
    pub fn output_tokens_max(&self) -> u32 {
        self.output_tokens_max
    }

    /// The tenant's part of the capacity.
    pub fn weight(&self) -> std::num::NonZeroU32 {
        self.tenant.weight
    }

    /// The rule that can be judged only once the prompt is tokenized, which happens after
    /// the permit.
    ///
    /// # Errors
    ///
    /// The denial, when the prompt is longer than the tenant's limit.
    pub fn admit_prompt(&mut self, prompt_tokens: u32) -> Result<(), Deny> {
        let max = self.tenant.limits.prompt_tokens_max;
        if prompt_tokens > max {
            let reason = DenyReason::PromptTooLong { prompt_tokens, max };
            return Err(Deny { reason, rule: RuleId::PROMPT_LIMIT, policies: self.policies });
        }
        if !self.rules.contains(&RuleId::PROMPT_LIMIT) {
            self.rules.push(RuleId::PROMPT_LIMIT);
        }
        Ok(())
    }
}

/// Why a request may not run. The message may be shown to the caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason} (rule `{rule}`)")]
pub struct Deny {
    /// What is in the way.
    pub reason: DenyReason,
    /// The rule that found it.
    pub rule: RuleId,
    /// The policies that it was made under.
    pub policies: PoliciesDigest,
}

/// What is in the way of a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DenyReason {
    /// The credential names a tenant without a policy.
    #[error("tenant `{0}` has no policy")]
    UnknownTenant(TenantId),

    /// The operator disabled the tenant.
    #[error("tenant `{0}` is disabled")]
    TenantDisabled(TenantId),

    /// The tenant's list of models lacks this one.
    #[error("tenant `{tenant}` may not use model `{model}`")]
    ModelNotAllowed {
        /// Who asked.
        tenant: TenantId,
        /// For what.
        model: String,
    },

    /// The model runs in no jurisdiction that is permitted.
    #[error(
        "model `{model}` runs in no permitted jurisdiction: permitted {}, available {}",
        listed(permitted),
        listed(available.iter().map(|c| format!("{} ({})", c.zone, c.jurisdiction)))
    )]
    ResidencyViolation {
        /// The model.
        model: String,
        /// What the tenant allows, after narrowing.
        permitted: Jurisdictions,
        /// Where the model could run.
        available: Vec<Candidate>,
    },

    /// The caller's narrowing and the tenant's jurisdictions have nothing in common.
    #[error(
        "the request is narrowed to {}, but the tenant allows only {}",
        listed(requested),
        listed(permitted)
    )]
    NarrowingEmpty {
        /// What the caller asked for.
        requested: Jurisdictions,
        /// What the tenant allows.
        permitted: Jurisdictions,
    },

    /// The caller asked for a longer answer than the tenant may have.
    #[error("the request asks for {requested} output tokens, but the tenant may have {max}")]
    OutputTooLong {
        /// What was asked for, in tokens.
        requested: u32,
        /// The tenant's limit, in tokens.
        max: u32,
    },

    /// The prompt is longer than the tenant may send.
    #[error("the prompt has {prompt_tokens} tokens, but the tenant may send {max}")]
    PromptTooLong {
        /// Its length, in tokens.
        prompt_tokens: u32,
        /// The tenant's limit, in tokens.
        max: u32,
    },
}

impl DenyReason {
    /// The stable code for error bodies, the audit log and metrics. That a narrowing leaves
    /// nothing is a residency violation too: the rule tells the two apart.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownTenant(_) => "unknown_tenant",
            Self::TenantDisabled(_) => "tenant_disabled",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::ResidencyViolation { .. } | Self::NarrowingEmpty { .. } => "residency_violation",
            Self::OutputTooLong { .. } => "output_too_long",
            Self::PromptTooLong { .. } => "prompt_too_long",
        }
    }
}

/// Decides on a request.
pub fn decide(policies: &Policies, facts: &Facts) -> Decision {
    let mut rules = Vec::new();
    match permit(policies, facts, &mut rules) {
        Ok((tenant, zones)) => Decision::Permit(Permit {
            output_tokens_max: facts.max_tokens.unwrap_or(tenant.limits.output_tokens_max),
            tenant: tenant.clone(),
            zones,
            rules,
            policies: policies.digest(),
        }),
        Err(reason) => {
            let rule = rules.pop().expect("a rule is entered before it is judged");
            Decision::Deny(Deny { reason, rule, policies: policies.digest() })
        }
    }
}

/// Judges rule by rule; each is entered before it is judged, so the last one entered is the
/// one that denied.
fn permit<'a>(
    policies: &'a Policies,
    facts: &Facts,
    rules: &mut Vec<RuleId>,
) -> Result<(&'a Tenant, Vec<Candidate>), DenyReason> {
    rules.push(RuleId::TENANT_KNOWN);
    let tenant = policies.tenant(&facts.tenant);
    let tenant = tenant.ok_or_else(|| DenyReason::UnknownTenant(facts.tenant.clone()))?;

    rules.push(RuleId::TENANT_ENABLED);
    if !tenant.enabled {
        return Err(DenyReason::TenantDisabled(tenant.id.clone()));
    }
    rules.push(RuleId::MODEL_ALLOWED);
    if !tenant.models.contains(&facts.model) {
        let (tenant, model) = (tenant.id.clone(), facts.model.clone());
        return Err(DenyReason::ModelNotAllowed { tenant, model });
    }
    rules.push(RuleId::OUTPUT_LIMIT);
    let max = tenant.limits.output_tokens_max;
    if let Some(requested) = facts.max_tokens.filter(|requested| *requested > max) {
        return Err(DenyReason::OutputTooLong { requested, max });
    }
    let permitted = narrow(tenant, facts, rules)?;

    rules.push(RuleId::RESIDENCY);
    let inside = |candidate: &&Candidate| permitted.contains(&candidate.jurisdiction);
    let zones: Vec<Candidate> = facts.candidates.iter().filter(inside).cloned().collect();
    if zones.is_empty() {
        let (model, available) = (facts.model.clone(), facts.candidates.clone());
        return Err(DenyReason::ResidencyViolation { model, permitted, available });
    }
    Ok((tenant, zones))
}

/// The tenant's jurisdictions without those that the caller took away.
fn narrow(
    tenant: &Tenant,
    facts: &Facts,
    rules: &mut Vec<RuleId>,
) -> Result<Jurisdictions, DenyReason> {
    let Some(narrowing) = &facts.narrowed else {
        return Ok(tenant.jurisdictions.clone());
    };
    rules.push(RuleId::NARROWING);
    let permitted: Jurisdictions = &tenant.jurisdictions & narrowing.jurisdictions();
    if permitted.is_empty() {
        return Err(DenyReason::NarrowingEmpty {
            requested: narrowing.jurisdictions().clone(),
            permitted: tenant.jurisdictions.clone(),
        });
    }
    Ok(permitted)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
