//! Where a request goes. Only what policy permits and the audit log holds goes anywhere.

use std::collections::BTreeMap;

use audit::Recorded;
use engine_api::{ModelId, ZoneId};
use policy::{Candidate, Permit};

/// What runs where, as the operator configured it: a model's zones and their jurisdictions.
#[derive(Clone, Debug, Default)]
pub struct Places {
    models: BTreeMap<ModelId, Vec<Candidate>>,
}

impl Places {
    /// Enters that a model has a partition in a zone.
    pub fn insert(&mut self, model: ModelId, candidate: Candidate) {
        let zones = self.models.entry(model).or_default();
        if !zones.contains(&candidate) {
            zones.push(candidate);
        }
    }

    /// The model's zones; `None` for a model that is not configured.
    pub fn of(&self, model: &ModelId) -> Option<&[Candidate]> {
        self.models.get(model).map(Vec::as_slice)
    }

    /// The configured models.
    pub fn models(&self) -> impl Iterator<Item = &ModelId> {
        self.models.keys()
    }
}

/// Where a request may run.
#[derive(Debug)]
pub enum Target {
    /// Workers in these zones.
    Partitions(PermittedZones),
}

/// Zones out of a permit whose decision is durable. [`route`] alone makes one.
#[derive(Debug)]
pub struct PermittedZones(Vec<ZoneId>);

impl PermittedZones {
    /// The zones, at least one.
    pub fn into_zones(self) -> Vec<ZoneId> {
        self.0
    }
}

/// Turns a permit into a target. `_recorded` is the proof that the decision is in the audit
/// log, without which nothing may be dispatched.
pub fn route(permit: &Permit, _recorded: &Recorded) -> Target {
    let zone = |candidate: &Candidate| ZoneId::new(candidate.zone.as_str());
    Target::Partitions(PermittedZones(permit.zones().iter().map(zone).collect()))
}
