//! Which permitted requests have no end yet.

use std::collections::BTreeMap;

use crate::{Entry, Outcome};

/// A permitted request without a terminal entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// Index of its decision.
    pub decision: u64,
    /// Its id.
    pub request: String,
}

/// What an entry does to the set of open requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// A permit: the request is open under the entry's own index.
    Opens { request: String },
    /// The end of a permitted request.
    Ends(Unfinished),
}

impl Effect {
    pub fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Decision(decision) if decision.outcome == Outcome::Permit => {
                Self::Opens { request: decision.request.clone() }
            }
            Entry::Terminal(end) => {
                Self::Ends(Unfinished { decision: end.decision, request: end.request.clone() })
            }
            Entry::Decision(_)
            | Entry::Started(_)
            | Entry::Stopped(_)
            | Entry::Configuration(_) => Self::None,
        }
    }
}

/// The open requests by the index of their decision.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct OpenRequests(BTreeMap<u64, String>);

impl OpenRequests {
    /// Whether the decision is open and belongs to this request.
    pub fn holds(&self, end: &Unfinished) -> bool {
        self.0.get(&end.decision) == Some(&end.request)
    }

    /// Applies what the entry with this index does; `false` when it ends a request that is
    /// not open.
    pub fn apply(&mut self, index: u64, effect: Effect) -> bool {
        match effect {
            Effect::None => true,
            Effect::Opens { request } => self.0.insert(index, request).is_none(),
            Effect::Ends(end) => self.holds(&end) && self.0.remove(&end.decision).is_some(),
        }
    }

    pub fn list(&self) -> Vec<Unfinished> {
        let item = |(decision, request): (&u64, &String)| Unfinished {
            decision: *decision,
            request: request.clone(),
        };
        self.0.iter().map(item).collect()
    }
}
