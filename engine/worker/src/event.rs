//! What a core says after a step.

use engine_api::{EngineError, Finished, RequestId, Timings, Token, Usage};

/// A request's name in a worker that serves several fleets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SequenceKey {
    /// Counts connections.
    pub connection: u64,
    /// The fleet's id.
    pub request: RequestId,
}

/// One thing that happened to a request. The order is that of [`engine_api::Event`]: tokens
/// of each choice, its end, and when every choice ended, the usage. `Failed` ends a request
/// instead.
#[derive(Clone, PartialEq, Debug)]
pub enum CoreEvent {
    /// A token was drawn.
    Token(Token),
    /// A choice ended.
    Finished(Finished),
    /// Everything ended.
    Usage(Usage, Timings),
    /// The request is given up; nothing more comes of it.
    Failed(EngineError),
}
