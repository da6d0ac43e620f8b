//! What an engine says of a request, in order.
//!
//! A stream is `Placed`, then tokens, each followed by what its text turns out to be, then one
//! `Finished` for each choice, then one `Usage`; or it ends with an error. The choices of one request interleave. After a worker's death
//! the stream goes on elsewhere with another `Placed`, and no token comes twice.

use std::time::Duration;

use crate::{Epoch, ModelDigest, NumericsClass, OutputEvent, PartitionId, TokenId, ZoneId};

/// Where the request runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Placement {
    /// The partition.
    pub partition: PartitionId,
    /// Its zone, from the operator's configuration.
    pub zone: ZoneId,
    /// Which start of the partition's worker.
    pub epoch: Epoch,
    /// The weights that it runs.
    pub model_digest: ModelDigest,
    /// What its results are bit-identical with.
    pub numerics: NumericsClass,
}

/// A token that could have been drawn.
#[derive(Clone, PartialEq, Debug)]
pub struct CandidateToken {
    /// Its id.
    pub id: TokenId,
    /// Its bytes, which need not be valid UTF-8 alone.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
}

/// Log-probabilities at one position.
#[derive(Clone, PartialEq, Debug)]
pub struct TokenLogprob {
    /// The token that was drawn.
    pub drawn: CandidateToken,
    /// The likeliest tokens, best first; as many as were asked for.
    pub top: Vec<CandidateToken>,
}

/// One drawn token.
#[derive(Clone, PartialEq, Debug)]
pub struct Token {
    /// Which answer, from 0.
    pub choice: u8,
    /// Position in the answer, from 0, without gaps.
    pub index: u32,
    /// The token.
    pub id: TokenId,
    /// Text that is now certain. May be empty: an unfinished character or the beginning of a
    /// stop string is held back.
    pub text: String,
    /// Present when asked for.
    pub logprob: Option<TokenLogprob>,
}

/// Why a choice ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FinishReason {
    /// An end token or a stop string.
    Stop,
    /// `max_tokens` or the context.
    Length,
}

/// One choice ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    /// Which answer, from 0.
    pub choice: u8,
    /// Why.
    pub reason: FinishReason,
    /// Text that was held back and turned out to belong to the answer.
    pub text: String,
}

/// Exact counts, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Length of the prompt.
    pub prompt_tokens: u32,
    /// Tokens drawn over all choices, end tokens included.
    pub completion_tokens: u32,
    /// Prompt tokens whose blocks were in the prefix cache.
    pub cached_tokens: u32,
}

/// Where a request's time went in the worker that ended it. Together they are the time from
/// its arrival there to its last token; what it waited elsewhere is not in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timings {
    /// From its arrival to the first step that computed some of it.
    pub queue: Duration,
    /// From there to its first token.
    pub prefill: Duration,
    /// From there to its last token.
    pub decode: Duration,
}

/// One thing that happened to a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// It runs, here.
    Placed(Placement),
    /// A token was drawn.
    Token(Token),
    /// What is now known of a choice's text: content, reasoning or a call. All output of a choice
    /// comes before its end.
    Output {
        /// Which answer, from 0.
        choice: u8,
        /// What it turns out to be.
        output: OutputEvent,
    },
    /// A choice ended.
    Finished(Finished),
    /// Everything ended: what it took, in tokens and in time.
    Usage(Usage, Timings),
}
