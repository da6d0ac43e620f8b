//! What an engine is to whoever calls it: one trait and plain data.
//!
//! The gateway, the fleet, the workers and the wire all speak in these types.
//! Nothing here does I/O, and nothing here knows of tenants, tokens of identity
//! or jurisdictions: the gateway turns a tenant into a [`CacheNamespace`] and a
//! [`Share`], and a permit into a set of [`ZoneId`]s.

mod answer_form;
mod constraint;
mod conversation;
mod demand;
mod embedding;
mod engine;
mod error;
mod event;
mod format;
mod id;
mod output;
mod prompt;
mod sampling;
mod stopping;
mod submission;
mod template_arguments;
mod trace;

pub use answer_form::{AnswerForm, Delivery, Reading};
pub use constraint::Constraint;
pub use conversation::{Conversation, FunctionCall, Message, Role, ToolCall};
pub use demand::{Demand, ResponseFormat, ToolChoice};
pub use embedding::{
    EmbeddingEvent, EmbeddingInputs, EmbeddingRequest, EmbeddingSource, EmbeddingStream,
    EmbeddingSubmission, ModelKind,
};
pub use engine::{BoxFuture, Engine, EventStream, ModelCard};
pub use error::EngineError;
pub use event::{
    CandidateToken, Event, FinishReason, Finished, Placement, Timings, Token, TokenLogprob, Usage,
};
pub use format::{CallFormat, ReasoningFormat, UnknownFormat};
pub use id::{
    CacheNamespace, Epoch, ModelDigest, ModelId, NumericsClass, PartitionId, RequestId, TokenId,
    ZoneId,
};
pub use output::OutputEvent;
pub use prompt::{PrepareRequest, Prompt, PromptSource};
pub use sampling::{
    LogitBias, MinP, OutOfRange, Penalty, RepetitionPenalty, Sampling, Seed, Temperature, TopK,
    TopLogprobs, TopP,
};
pub use stopping::{Choices, MaxTokens, StopStrings, StopTokens, Stopping};
pub use submission::{Priority, Share, Submission};
pub use template_arguments::{ReasoningEffort, TemplateArguments};
pub use trace::TraceContext;
