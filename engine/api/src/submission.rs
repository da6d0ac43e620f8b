//! A request as an engine takes it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::{
    CacheNamespace, Choices, Constraint, Prompt, RequestId, Sampling, Stopping, TokenId,
    TraceContext, ZoneId,
};

/// Who shares capacity with whom: an opaque key of the tenant, and its weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Requests with the same key share one part.
    pub key: u64,
    /// How large that part is against the others.
    pub weight: NonZeroU32,
}

/// Which of a tenant's requests goes first: the lower number, as in vLLM's API. It orders requests
/// of one [`Share`] alone, so that no tenant can pass another by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Priority(pub i32);

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
    /// What the answer has to be; `None` is anything.
    pub constraint: Option<Constraint>,
    /// Control tokens whose text is written into the answer, because whoever reads it looks for
    /// them. All others leave no text. At most [`Submission::MARKERS_MAX`].
    pub markers: Vec<TokenId>,
    /// Which cached blocks it may share.
    pub namespace: CacheNamespace,
    /// Which part of the capacity it uses.
    pub share: Share,
    /// Its place among the requests of the same share.
    pub priority: Priority,
    /// Time that is left, at the submission, until its first token must be computed: later nobody
    /// reads it any more. What cannot be met is refused before any of the prompt is read, with
    /// [`EngineError::DeadlineExceeded`](crate::EngineError::DeadlineExceeded). It does not bound
    /// an answer that has begun.
    pub deadline: Option<Duration>,
    /// How long after the answer's end what it computed is kept before what nobody holds: for
    /// answers that a tool will answer in a moment, so that the next turn finds them.
    pub hold: Option<Duration>,
    /// Where it may run: only these, never empty.
    pub zones: Vec<ZoneId>,
    /// The caller's trace, so that the steps of a worker appear in it.
    pub trace: Option<TraceContext>,
}

impl Submission {
    /// The most markers that a request may have.
    pub const MARKERS_MAX: usize = 64;
}
