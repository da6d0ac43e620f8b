//! A name for a set of policies by what it means.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

use crate::{AllowedModels, Jurisdiction, Jurisdictions, Tenant, TenantId};

/// Counted up whenever a rule of [`crate::decide`] changes, because a rule is part of a policy
/// as much as the files are.
const RULES_VERSION: u64 = 1;

/// SHA-256 over everything that a decision depends on except its facts: groups, tenants and
/// the version of the rules. Comments, formatting, and the names and order of files do not
/// change it; groups count as the countries that they stand for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoliciesDigest(pub(crate) [u8; 32]);

impl PoliciesDigest {
    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PoliciesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PoliciesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn digest(
    groups: &BTreeMap<String, Jurisdictions>,
    tenants: &BTreeMap<TenantId, Tenant>,
) -> PoliciesDigest {
    let mut canonical = Canonical(Context::new(&SHA256));
    canonical.text("hanse-policies");
    canonical.number(RULES_VERSION);
    canonical.number(groups.len() as u64);
    for (name, members) in groups {
        canonical.text(name);
        canonical.texts(members.iter().map(Jurisdiction::as_str));
    }
    canonical.number(tenants.len() as u64);
    for tenant in tenants.values() {
        canonical.tenant(tenant);
    }
    let digest = canonical.0.finish();
    PoliciesDigest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Every text is preceded by its length and every list by its count, so that two different
/// sets never give the same bytes.
struct Canonical(Context);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    fn tenant(&mut self, tenant: &Tenant) {
        // taken apart, so that a new field cannot be forgotten here
        let Tenant { id, enabled, jurisdictions, models, limits, weight } = tenant;
        self.text(id.as_str());
        self.number(u64::from(*enabled));
        self.texts(jurisdictions.iter().map(Jurisdiction::as_str));
        match models {
            AllowedModels::Every => self.number(0),
            AllowedModels::Only(names) => {
                self.number(1);
                self.texts(names.iter().map(String::as_str));
            }
        }
        let crate::Limits {
            requests_per_minute,
            concurrent_requests_max,
            output_tokens_max,
            prompt_tokens_max,
        } = *limits;
        for limit in
            [requests_per_minute, concurrent_requests_max, output_tokens_max, prompt_tokens_max]
        {
            self.number(limit.into());
        }
        self.number(weight.get().into());
    }
}
