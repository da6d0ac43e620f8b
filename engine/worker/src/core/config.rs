//! What a core is started with, and what it says of itself.

use std::num::NonZeroU32;
use std::path::PathBuf;

use engine_api::{ModelDigest, ModelKind, NumericsClass};
use engine_kernels::{Activations, DeviceName, KvKind};

use crate::model::{LoadError, PackedDir};

/// How to run a partition.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The GGUF file, or the folder of safetensors.
    pub model: PathBuf,
    /// What computes.
    pub device: DeviceName,
    /// Memory for keys and values, in bytes. All of it is reserved at the start; on a CPU the
    /// system gives each page when it is first written.
    pub kv_bytes: u64,
    /// In which type keys and values are kept; `None` for the device's own.
    pub kv_kind: Option<KvKind>,
    /// Longest sequence in tokens, where it shall be shorter than what the model was made for.
    pub context_max: Option<NonZeroU32>,
    /// Threads of the kernels. Results do not depend on their number.
    pub threads: usize,
    /// Tokens that one step reads at most, which is also how many sequences run at once.
    pub step_tokens_max: usize,
    /// Sequences that may wait.
    pub queue_max: usize,
    /// Tokens that are guessed to follow and checked in one step, at most. 0 guesses nothing;
    /// results are the same.
    pub draft_tokens_max: u32,
    /// In which form activations meet quantized weights.
    pub activations: Activations,
    /// Where packed weights are kept; nowhere if absent. Results are the same.
    pub packed: Option<PackedDir>,
}

impl CoreConfig {
    /// Tokens of a step unless something else is asked for.
    pub const STEP_TOKENS_MAX: usize = 256;
    /// Guessed tokens unless something else is asked for.
    pub const DRAFT_TOKENS_MAX: u32 = 8;

    pub(super) fn check(&self) -> Result<(), LoadError> {
        let counts = [
            ("threads", self.threads),
            ("step_tokens_max", self.step_tokens_max),
            ("queue_max", self.queue_max),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(LoadError::Zero { name }),
            None => Ok(()),
        }
    }
}

/// What a core runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreCard {
    /// SHA-256 of the weights file.
    pub digest: ModelDigest,
    /// What its results are bit-identical with.
    pub numerics: NumericsClass,
    /// Longest sequence, prompt and output together, in tokens.
    pub context: u32,
    /// Width of the logits.
    pub vocabulary: u32,
    /// Blocks of the pool.
    pub blocks: u32,
    /// Positions of a block.
    pub block_tokens: u32,
    /// What it does.
    pub kind: ModelKind,
}

/// How busy a core is, and what it has done since its start. Sequences are counted, not
/// requests: each choice is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Sequences that hold blocks.
    pub running: u32,
    /// Sequences that wait for blocks or a place.
    pub waiting: u32,
    /// Blocks that sequences hold.
    pub blocks_used: u32,
    /// Blocks in all.
    pub blocks_total: u32,
    /// Blocks that no sequence holds, but whose content the prefix cache still knows.
    pub blocks_cached: u32,
    /// Blocks that the prefix cache may not give away.
    pub blocks_pinned: u32,
    /// How often a sequence had to give its blocks back.
    pub preemptions: u64,
    /// Prompt tokens of the requests that reached their first token.
    pub prompt_tokens: u64,
    /// Tokens that were drawn, over all choices.
    pub generation_tokens: u64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens that were found there.
    pub prefix_hits: u64,
    /// Tokens that were guessed to follow, and checked.
    pub drafted: u64,
    /// Those of them that were right.
    pub accepted: u64,
}
