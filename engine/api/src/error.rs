//! Why an engine did not do what it was asked.

use std::time::Duration;

use crate::ModelId;

/// Each variant is one thing that a caller can tell apart and act on. Messages may be shown
/// to clients: they never hold an address, a path or a prompt.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum EngineError {
    /// No partition is configured for the model.
    #[error("model `{0}` does not exist")]
    UnknownModel(ModelId),

    /// Prompt and wanted output do not fit.
    #[error(
        "this model takes {context} tokens of context, but the prompt has {prompt_tokens} \
         tokens; shorten the prompt"
    )]
    PromptTooLong {
        /// Length of the prompt in tokens.
        prompt_tokens: u64,
        /// Longest sequence that the model takes.
        context: u32,
    },

    /// A field that only the engine can judge.
    #[error("`{param}` {message}")]
    Invalid {
        /// The field's name in the client's API.
        param: &'static str,
        /// What is wrong with it and what to do.
        message: String,
    },

    /// Every queue of the permitted zones is full.
    #[error("all partitions are busy; retry after {} s", retry_after.as_secs())]
    Overloaded {
        /// When it may go better, at most 60 s.
        retry_after: Duration,
    },

    /// No worker of the permitted zones is up.
    #[error("no partition of model `{model}` is ready in the permitted zones")]
    Unavailable {
        /// The model.
        model: ModelId,
        /// When it may go better, at most 60 s.
        retry_after: Duration,
    },

    /// The request would begin too late for whoever waits for it.
    #[error(
        "the answer cannot begin before the request's deadline; retry after {} s",
        retry_after.as_secs()
    )]
    DeadlineExceeded {
        /// When it may go better, at most 60 s.
        retry_after: Duration,
    },

    /// Workers died on this request more than once, so it is not tried again.
    #[error("the request was stopped because workers failed on it repeatedly")]
    Quarantined,

    /// The engine shuts down.
    #[error("the engine is shutting down")]
    Draining,

    /// The operation exists in the API but not in this engine.
    #[error("`{0}` is not supported by this model")]
    Unsupported(&'static str),

    /// A fault of ours. Its cause is in the log, under the request's id.
    #[error("the engine failed on this request")]
    Internal,
}
