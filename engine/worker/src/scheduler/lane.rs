//! What the scheduler knows of one sequence.

use std::time::Duration;

use engine_api::Share;

use super::{Chunk, SequenceId};
use crate::kv::{BLOCK_TOKENS, BlockTables, Chain};

/// A sequence that comes in.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Its name.
    pub(crate) id: SequenceId,
    /// Length of its prompt, in tokens.
    pub(crate) prompt: u32,
    /// What it may become, prompt and answer together, in tokens.
    pub(crate) whole: u32,
    /// All that is known of it: the prompt, and tokens drawn elsewhere before.
    pub(crate) chain: Chain,
    /// Whose it is.
    pub(crate) share: Share,
    /// Among the sequences of one share the lower number goes first.
    pub(crate) priority: i32,
    /// When its prompt has to be read, on the scheduler's clock.
    pub(crate) deadline: Option<Duration>,
}

/// A sequence that waits or runs.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) arrival: Arrival,
    pub(super) arrived: Duration,
    /// Counts admissions up; a sequence that had to give way keeps its number.
    pub(super) order: Option<u64>,
    /// Positions in the cache, counting those of the step that is planned.
    pub(super) computed: u32,
    /// Positions in the cache before that step.
    pub(super) settled: u32,
    /// Blocks that the prefix cache was told of.
    pub(super) committed: u32,
    /// Empty while the lane waits.
    pub(super) tables: BlockTables,
    /// Tokens that someone guesses to follow.
    pub(super) drafts: u32,
}

impl Lane {
    pub(super) fn new(arrival: Arrival, arrived: Duration, tables: BlockTables) -> Self {
        Self {
            arrival,
            arrived,
            order: None,
            computed: 0,
            settled: 0,
            committed: 0,
            tables,
            drafts: 0,
        }
    }

    pub(super) fn id(&self) -> SequenceId {
        self.arrival.id
    }

    /// Tokens that are known.
    pub(super) fn known(&self) -> u32 {
        self.arrival.chain.len()
    }

    /// Known positions that are not in the cache.
    pub(super) fn rest(&self) -> u32 {
        self.known() - self.computed
    }

    /// Whether the next position gives the next token.
    pub(super) fn decodes(&self) -> bool {
        self.rest() == 1
    }

    /// Positions that are ever computed: the last token is drawn and never read.
    pub(super) fn computed_max(&self) -> u32 {
        self.arrival.whole - 1
    }

    /// Positions that a sequence has when it is so many tokens further than now.
    pub(super) fn grown(&self, tokens: u32) -> u32 {
        (self.known() + tokens).min(self.computed_max())
    }

    /// Positions that its siblings compute too. One token is left at least, for its logits.
    pub(super) fn common(&self) -> u32 {
        self.arrival.prompt.min(self.known() - 1)
    }

    /// Whether a sibling can take its first positions over: a block that is shared may be one
    /// that this very step writes, since within a layer all keys and values are written before
    /// any row attends; one that is copied may not.
    pub(super) fn lends(&self, positions: u32) -> bool {
        let whole_blocks = positions.is_multiple_of(BLOCK_TOKENS);
        positions <= if whole_blocks { self.computed } else { self.settled }
    }

    /// Full blocks that may come from the prefix cache, for the same reason one token short.
    pub(super) fn cacheable(&self) -> u32 {
        (self.known() - 1) / BLOCK_TOKENS
    }

    /// The next chunk, which counts as computed from now on. Drafts are computed too, but
    /// whether they count is known only when they have been compared.
    pub(super) fn advance(&mut self, length: u32, drafts: u32) -> Chunk {
        let start = self.computed;
        self.computed += length;
        let ends = self.computed == self.known();
        Chunk {
            sequence: self.id(),
            start,
            length: length + drafts,
            drawn: if ends { 1 + drafts } else { 0 },
        }
    }
}
