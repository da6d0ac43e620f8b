//! Texts as vectors: what is asked, and what comes back.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;

use crate::{
    EngineError, ModelDigest, ModelId, Placement, RequestId, Share, Timings, TokenId, TraceContext,
    Usage, ZoneId,
};

/// What a model does with a text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ModelKind {
    /// Goes on with it.
    #[default]
    Generate,
    /// Makes a vector of it.
    Embed,
}

/// What the client wants to be embedded.
#[derive(Clone, PartialEq, Debug)]
pub enum EmbeddingSource {
    /// Texts; special tokens in them stay text.
    Texts(Vec<String>),
    /// Ids of texts, checked against the vocabulary. The ids that the model frames a text by may be
    /// there or not.
    Tokens(Vec<Vec<TokenId>>),
}

/// Asks for [`EmbeddingInputs`].
#[derive(Clone, PartialEq, Debug)]
pub struct EmbeddingRequest {
    /// The model that will read them.
    pub model: ModelId,
    /// What to tokenize.
    pub source: EmbeddingSource,
    /// How many dimensions of each vector are wanted; all where absent.
    pub dimensions: Option<NonZeroU32>,
}

/// Tokenized, counted, and known to fit the model.
#[derive(Clone, PartialEq, Debug)]
pub struct EmbeddingInputs {
    /// The model that they were prepared for.
    pub model: ModelId,
    /// Digest of the weights that the tokenizer came from.
    pub model_digest: ModelDigest,
    /// The ids of each input, never empty, the frame included.
    pub inputs: Vec<Arc<[TokenId]>>,
    /// Length of the vectors: at least 1, and at most what the model makes.
    pub dimensions: u32,
}

impl EmbeddingInputs {
    /// Tokens of all inputs.
    pub fn tokens(&self) -> u32 {
        let tokens: usize = self.inputs.iter().map(|ids| ids.len()).sum();
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

/// Everything that vectors depend on, and everything that scheduling needs.
#[derive(Clone, PartialEq, Debug)]
pub struct EmbeddingSubmission {
    /// Made by the gateway.
    pub id: RequestId,
    /// What the model reads.
    pub inputs: EmbeddingInputs,
    /// Which part of the capacity it uses.
    pub share: Share,
    /// Time that is left, at the submission, until the first vector must be computed: later nobody
    /// reads it any more, and it is refused with
    /// [`EngineError::DeadlineExceeded`](crate::EngineError::DeadlineExceeded).
    pub deadline: Option<Duration>,
    /// Where it may run: only these, never empty.
    pub zones: Vec<ZoneId>,
    /// The caller's trace.
    pub trace: Option<TraceContext>,
}

/// What an engine says of an embedding request: `Placed`, then a vector for each input in any
/// order, then `Usage`; or it ends with an error. After a worker's death it goes on elsewhere
/// with another `Placed`, and no vector comes twice.
#[derive(Clone, PartialEq, Debug)]
pub enum EmbeddingEvent {
    /// It runs here.
    Placed(Placement),
    /// The vector of one input. The same ids and weights give the same bits, whatever else is
    /// computed beside them, within one numerics class.
    Vector {
        /// Which input, from 0.
        input: u32,
        /// So many numbers as dimensions were asked for; the sum of their squares is 1.
        values: Vec<f32>,
    },
    /// Its end.
    Usage(Usage, Timings),
}

/// The events of one embedding request. Dropping it cancels the request.
pub type EmbeddingStream = Pin<Box<dyn Stream<Item = Result<EmbeddingEvent, EngineError>> + Send>>;
