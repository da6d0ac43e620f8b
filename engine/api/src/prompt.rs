//! From what the client said to the ids that the model reads.

use std::sync::Arc;

use crate::{AnswerForm, CacheNamespace, Conversation, Demand, ModelDigest, ModelId, TokenId};

/// What the client said.
#[derive(Clone, PartialEq, Debug)]
pub enum PromptSource {
    /// A chat, to be rendered by the model's template.
    Chat(Conversation),
    /// Text, tokenized as it is; special tokens in it stay text.
    Text(String),
    /// Ids, checked against the vocabulary.
    Tokens(Vec<TokenId>),
}

/// Asks for a [`Prompt`].
#[derive(Clone, PartialEq, Debug)]
pub struct PrepareRequest {
    /// The model that will read it.
    pub model: ModelId,
    /// What to render and tokenize.
    pub source: PromptSource,
    /// What the answer has to be.
    pub demand: Demand,
    /// Whose earlier answers may lend their ids to it.
    pub namespace: CacheNamespace,
    /// Unix seconds at which the request came in: what a template's clock reads, so that a
    /// replay renders the same.
    pub now: i64,
    /// The output that the client asked for, in tokens; `None` is as much as fits.
    pub max_tokens: Option<u32>,
}

/// Rendered, tokenized, counted, and known to fit the context.
#[derive(Clone, PartialEq, Debug)]
pub struct Prompt {
    /// The model that it was prepared for.
    pub model: ModelId,
    /// Digest of the weights that the tokenizer came from.
    pub model_digest: ModelDigest,
    /// The ids, never empty. Where the text begins with an answer that was given before, they are
    /// those that were drawn; a record of the request has to keep them, since tokenizing the text
    /// again may give others.
    pub ids: Arc<[TokenId]>,
    /// Tokens that may be generated: what was asked for, cut to what the context leaves.
    pub max_tokens: u32,
    /// Longest sequence that the model takes, prompt and output together, in tokens.
    pub context: u32,
    /// What the answer has to be and how it is read. Whoever submits the prompt passes it on; no
    /// worker sees it.
    pub answer: AnswerForm,
}
