//! The one trait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{
    EmbeddingInputs, EmbeddingRequest, EmbeddingStream, EmbeddingSubmission, EngineError, Event,
    ModelDigest, ModelId, ModelKind, PrepareRequest, Prompt, Submission, TokenId,
};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The events of one request. Dropping it cancels the request and frees its blocks within
/// one step.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event, EngineError>> + Send>>;

/// What is known of a model without running it.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelCard {
    /// Its name.
    pub id: ModelId,
    /// What it does.
    pub kind: ModelKind,
    /// Digest of its weights.
    pub digest: ModelDigest,
    /// Longest sequence, prompt and output together, in tokens.
    pub context: u32,
    /// Width of the logits.
    pub vocabulary: u32,
    /// Unix seconds; when the weights were made or fetched.
    pub created: i64,
}

/// Something that runs models: our own fleet of workers, or an upstream.
pub trait Engine: Send + Sync {
    /// The models that it can run, whether or not a worker is up.
    fn models(&self) -> Vec<ModelCard>;

    /// Renders, tokenizes and counts. Refuses a prompt that cannot fit. Reads no weights and
    /// does not wait for a worker.
    fn prepare(&self, request: PrepareRequest) -> BoxFuture<'_, Result<Prompt, EngineError>>;

    /// Queues a request in one of its zones. Errors before the first token come from the
    /// call, later ones from the stream.
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<EventStream, EngineError>>;

    /// Tokenizes and counts what is to be embedded. Refuses an input that does not fit the model:
    /// nothing of it is ever cut off. An engine that embeds nothing refuses everything.
    fn prepare_embedding(
        &self,
        request: EmbeddingRequest,
    ) -> BoxFuture<'_, Result<EmbeddingInputs, EngineError>> {
        drop(request);
        Box::pin(async { Err(EngineError::Unsupported("embeddings")) })
    }

    /// Queues inputs in one of their zones. Errors come from the stream.
    fn embed(&self, submission: EmbeddingSubmission) -> EmbeddingStream {
        drop(submission);
        Box::pin(Never(Some(EngineError::Unsupported("embeddings"))))
    }

    /// The ids of a text, special tokens in it staying text.
    fn tokenize(&self, model: &ModelId, text: &str) -> Result<Vec<TokenId>, EngineError>;

    /// The text of ids; bytes that are not UTF-8 become U+FFFD.
    fn detokenize(&self, model: &ModelId, ids: &[TokenId]) -> Result<String, EngineError>;

    /// Whether at least one worker of the model is up.
    fn is_ready(&self, model: &ModelId) -> bool;
}

/// The stream of an engine that embeds nothing: an error, and its end.
struct Never(Option<EngineError>);

impl Stream for Never {
    type Item = Result<crate::EmbeddingEvent, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Err))
    }
}
