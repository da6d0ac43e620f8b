//! One tenant's policy.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::{Jurisdictions, Limits, TenantId};

/// What one file of `policies/tenants/` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// A disabled tenant keeps its file and keys, and everything it asks is denied.
    pub enabled: bool,
    /// Where its requests may run, groups resolved; never empty.
    pub jurisdictions: Jurisdictions,
    /// Which models it may use.
    pub models: AllowedModels,
    /// How much it may use.
    pub limits: Limits,
    /// Its part of the capacity against other tenants.
    pub weight: NonZeroU32,
}

/// Which models a tenant may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowedModels {
    /// Every configured one.
    Every,
    /// These alone.
    Only(BTreeSet<String>),
}

impl AllowedModels {
    /// Whether the model is one of them.
    pub fn contains(&self, model: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(names) => names.contains(model),
        }
    }
}
