//! What runs in a step: no tensors, no tokens, no clock, only lengths and blocks.
//!
//! First come, first served. Sequences that decode go first, then prompts in chunks, oldest
//! first, then whoever waits, as far as the step's budget of tokens and the pool go. When the
//! pool is exhausted the newest sequence gives its blocks back and waits again; it will be
//! computed anew. Every running sequence is older than every waiting one, so the oldest
//! always gets on, and since no sequence is taken that the pool cannot hold alone, every
//! sequence ends.

mod plan;

use std::collections::VecDeque;

use crate::kv::{BlockPool, BlockTable, blocks_for};
pub(crate) use plan::{Chunk, Plan};

/// A sequence's name, in the order of arrival: the request's number, then the choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SequenceId {
    /// Counts requests up.
    pub(crate) request: u64,
    /// Which answer; the choices of a request have one prompt and share its blocks.
    pub(crate) choice: u8,
}

/// The lengths of a sequence that comes in, in tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Its prompt.
    pub(crate) prompt: u32,
    /// What is known of it: the prompt, and tokens drawn elsewhere before.
    pub(crate) known: u32,
    /// What it may become.
    pub(crate) whole: u32,
}

impl Lengths {
    /// Positions that are ever computed: the last token is drawn and never read.
    fn computed_max(&self) -> u32 {
        self.whole - 1
    }
}

/// Why a sequence is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The waiting queue is full.
    Full,
    /// The pool is too small for it, even when nothing else runs.
    NeverFits {
        /// Positions that the pool holds.
        pool: u32,
    },
}

/// What the scheduler knows of one sequence.
#[derive(Debug)]
struct Lane {
    id: SequenceId,
    lengths: Lengths,
    /// Positions in the cache, counting those of the step that is planned.
    computed: u32,
    /// Empty while the lane waits.
    table: BlockTable,
}

impl Lane {
    /// Positions that its siblings compute too, in whole blocks. One token at least is left,
    /// for its logits.
    fn shareable(&self) -> u32 {
        let common = self.lengths.prompt.min(self.lengths.known - 1);
        common - common % crate::kv::BLOCK_TOKENS
    }

    /// Blocks for what is known and the first growth.
    fn blocks_to_admit(&self) -> u32 {
        blocks_for((self.lengths.known + 1).min(self.lengths.computed_max()))
    }
}

/// The queue, the running sequences and the pool.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pool: BlockPool,
    /// Oldest first. None holds a block.
    waiting: VecDeque<Lane>,
    /// Oldest first.
    running: Vec<Lane>,
    /// The most tokens a step reads, and so the most sequences that run.
    step_tokens_max: u32,
    /// The most sequences that wait, when the next request comes.
    queue_max: usize,
    preemptions: u64,
}

impl Scheduler {
    /// An idle scheduler over a pool of free blocks.
    pub(crate) fn new(blocks: u32, step_tokens_max: u32, queue_max: usize) -> Self {
        assert!(step_tokens_max > 0 && queue_max > 0, "a step reads and a queue holds something");
        Self {
            pool: BlockPool::new(blocks),
            waiting: VecDeque::new(),
            running: Vec::new(),
            step_tokens_max,
            queue_max,
            preemptions: 0,
        }
    }

    /// Queues all sequences of one request, or none of them. Requests come in the order of
    /// their numbers.
    pub(crate) fn submit(&mut self, lanes: &[(SequenceId, Lengths)]) -> Result<(), Refusal> {
        if self.waiting.len() >= self.queue_max {
            return Err(Refusal::Full);
        }
        for (_, lengths) in lanes {
            assert!(lengths.prompt > 0 && lengths.prompt <= lengths.known, "a prompt is known");
            assert!(lengths.known < lengths.whole, "something is left to draw");
            if blocks_for(lengths.computed_max()) > self.pool.total() {
                let pool = self.pool.total().saturating_mul(crate::kv::BLOCK_TOKENS);
                return Err(Refusal::NeverFits { pool });
            }
        }
        for (id, lengths) in lanes {
            assert!(self.waiting.back().is_none_or(|last| last.id < *id), "ids count up");
            let table = BlockTable::default();
            self.waiting.push_back(Lane { id: *id, lengths: *lengths, computed: 0, table });
        }
        Ok(())
    }

    /// Forgets a sequence and frees its blocks at once.
    pub(crate) fn remove(&mut self, id: SequenceId) {
        if let Some(index) = self.running.iter().position(|lane| lane.id == id) {
            self.running.remove(index).table.release(&mut self.pool);
        }
        self.waiting.retain(|lane| lane.id != id);
        self.audit();
    }

    /// A token was drawn, and the sequence goes on.
    pub(crate) fn grow(&mut self, id: SequenceId) {
        let lane = self.running.iter_mut().find(|lane| lane.id == id);
        let lane = lane.expect("only a running sequence draws");
        assert_eq!(lane.computed, lane.lengths.known, "a drawn token follows all known ones");
        lane.lengths.known += 1;
        assert!(lane.lengths.known < lane.lengths.whole, "a whole sequence has ended");
    }

    /// The blocks of a running sequence.
    pub(crate) fn table(&self, id: SequenceId) -> &BlockTable {
        let lane = self.running.iter().find(|lane| lane.id == id);
        &lane.expect("a planned sequence runs").table
    }

    /// Whether nothing runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Sequences that run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Blocks in use and in all.
    pub(crate) fn blocks(&self) -> (u32, u32) {
        (self.pool.total() - self.pool.free(), self.pool.total())
    }

    /// How often a running sequence had to give way since the start.
    pub(crate) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Where assertions are on: counts, tables and free list agree, and order holds.
    fn audit(&self) {
        if cfg!(debug_assertions) {
            self.pool.audit(self.running.iter().flat_map(|lane| lane.table.blocks()).copied());
            assert!(self.waiting.iter().all(|lane| lane.table.blocks().is_empty()));
            let lanes = || self.running.iter().chain(&self.waiting);
            assert!(
                lanes().is_sorted_by(|a, b| a.id < b.id),
                "oldest first, running before waiting"
            );
        }
    }
}

#[cfg(test)]
mod tests;
