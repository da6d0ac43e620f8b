//! What is known of a request when its decision is made.

use crate::{Jurisdiction, Narrowing, TenantId, ZoneId};

/// A zone that could run the model.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// The zone.
    pub zone: ZoneId,
    /// Whose law applies there: from the operator's configuration, never from the zone itself.
    pub jurisdiction: Jurisdiction,
}

/// The facts of one request. They hold nothing of its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Who asks: from the credential, never from a header or the body.
    pub tenant: TenantId,
    /// The model's configured name.
    pub model: String,
    /// Every zone with a partition of the model, whether or not a worker is up.
    pub candidates: Vec<Candidate>,
    /// The caller's wish for fewer jurisdictions than the tenant has.
    pub narrowed: Option<Narrowing>,
    /// The output that the caller asked for, in tokens per choice; `None` is as much as fits.
    pub max_tokens: Option<u32>,
}
