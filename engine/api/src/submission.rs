//! A request as an engine takes it.

use std::num::NonZeroU32;

use crate::{CacheNamespace, Choices, Prompt, RequestId, Sampling, Stopping, TraceContext, ZoneId};

/// Who shares capacity with whom: an opaque key of the tenant, and its weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Requests with the same key share one part.
    pub key: u64,
    /// How large that part is against the others.
    pub weight: NonZeroU32,
}

/// Everything that a result depends on, and everything that scheduling needs.
#[derive(Clone, PartialEq, Debug)]
pub struct Submission {
    /// Made by the gateway.
    pub id: RequestId,
    /// What the model reads.
    pub prompt: Prompt,
    /// How many answers.
    pub choices: Choices,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// When an answer ends.
    pub stopping: Stopping,
    /// Which cached blocks it may share.
    pub namespace: CacheNamespace,
    /// Which part of the capacity it uses.
    pub share: Share,
    /// Where it may run: only these, never empty.
    pub zones: Vec<ZoneId>,
    /// The caller's trace, so that the steps of a worker appear in it.
    pub trace: Option<TraceContext>,
}
