//! What a core says after a step.

use engine_api::{EngineError, Finished, RequestId, Timings, Token, Usage};
use engine_wire::Embedded;

/// A request's name in a worker that serves several fleets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SequenceKey {
    /// Counts connections.
    pub connection: u64,
    /// The fleet's id.
    pub request: RequestId,
}

/// One thing that happened to a request. `Started` comes first, if the request is computed at
/// all. Then the order is that of [`engine_api::Event`]: tokens of each choice, its end, and
/// when every choice ended, the usage. `Failed` ends a request instead.
#[derive(Clone, PartialEq, Debug)]
pub enum CoreEvent {
    /// The request got blocks for the first time. What it finds cached when it gets them again
    /// are its own, and count for nothing.
    Started {
        /// Prompt tokens whose blocks were in the prefix cache.
        cached_tokens: u32,
    },
    /// A token was drawn.
    Token(Token),
    /// A choice ended.
    Finished(Finished),
    /// The vector of one text.
    Embedded(Embedded),
    /// Everything ended.
    Usage(Usage, Timings),
    /// The request is given up; nothing more comes of it.
    Failed(EngineError),
}
