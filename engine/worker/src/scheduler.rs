//! What runs in a step. Pure: no tensors, no clock but the one it is told, and of tokens only
//! the chains by which the prefix cache knows them.
//!
//! A step takes the sequences that decode, then prompts in chunks, those that run and those that
//! wait in the order in which they are due, as far as its tokens and the blocks go. Time on prompts
//! is divided between the shares (tenants), whose accounts say who may start. When blocks run
//! out, a sequence that was admitted later gives its own back and waits again; it will be
//! computed anew, as far as the prefix cache has lost it.
//!
//! Everything ends: the sequence that was admitted first of all never gives way, since only
//! later ones are chosen; whoever gave way starts again before anyone who has not started; and
//! no sequence is taken that the blocks cannot hold alone.

mod accounts;
mod admission;
mod lane;
mod pace;
mod plan;

use std::time::Duration;

use crate::kv::{BLOCK_TOKENS, BlockStore, BlockTables, LayerGroup, Usage};
use accounts::Accounts;
pub(crate) use lane::Arrival;
use lane::Lane;
use pace::Pace;
pub(crate) use plan::{Admitted, Chunk, Plan};

/// A sequence's name: the request's number, in the order of arrival, then the choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SequenceId {
    /// Counts requests up.
    pub(crate) request: u64,
    /// Which answer; the choices of a request have one prompt and share its blocks.
    pub(crate) choice: u8,
}

/// Why a sequence is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The waiting queue is full, or this share's part of it.
    Full,
    /// There are too few blocks for it, even when nothing else runs.
    NeverFits {
        /// Positions that the blocks hold.
        pool: u32,
    },
}

impl Refusal {
    /// For the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Full => "the queue is full",
            Self::NeverFits { .. } => "the pool can never hold it",
        }
    }
}

/// What happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    /// How often a running sequence had to give way.
    pub(crate) preemptions: u64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub(crate) prefix_queries: u64,
    /// Prompt tokens that it had.
    pub(crate) prefix_hits: u64,
}

/// The queue, the running sequences and the blocks.
#[derive(Debug)]
pub(crate) struct Scheduler {
    store: BlockStore,
    /// In the order of arrival. None holds a block.
    waiting: Vec<Lane>,
    /// In the order of admission.
    running: Vec<Lane>,
    accounts: Accounts,
    pace: Pace,
    /// The most tokens a step reads, and so the most sequences that run.
    step_tokens_max: u32,
    /// The most sequences that wait.
    queue_max: usize,
    admissions: u64,
    counters: Counters,
}

impl Scheduler {
    /// An idle scheduler over free blocks of each group of layers.
    pub(crate) fn new(groups: &[LayerGroup], step_tokens_max: u32, queue_max: usize) -> Self {
        assert!(step_tokens_max > 0 && queue_max > 0, "a step reads and a queue holds something");
        Self {
            store: BlockStore::new(groups),
            waiting: Vec::new(),
            running: Vec::new(),
            accounts: Accounts::default(),
            pace: Pace::default(),
            step_tokens_max,
            queue_max,
            admissions: 0,
            counters: Counters::default(),
        }
    }

    /// Queues all sequences of one request, or none of them. Requests come in the order of
    /// their numbers.
    ///
    /// A share takes at most as many places of the queue as it leaves free, so that one share
    /// cannot take the last of them.
    pub(crate) fn submit(&mut self, arrivals: Vec<Arrival>, now: Duration) -> Result<(), Refusal> {
        let free = self.queue_max.saturating_sub(self.waiting.len());
        for arrival in &arrivals {
            assert!(
                arrival.prompt > 0 && arrival.prompt <= arrival.chain.len(),
                "a prompt is known"
            );
            assert!(arrival.chain.len() < arrival.whole, "something is left to draw");
            if free == 0 || self.accounts.waiting(arrival.share) > free {
                return Err(Refusal::Full);
            }
            if !self.store.holds(arrival.whole - 1) {
                return Err(Refusal::NeverFits { pool: self.store.positions_max() });
            }
        }
        for arrival in arrivals {
            let newest = self.waiting.iter().map(Lane::id).max();
            assert!(newest.is_none_or(|newest| newest < arrival.id), "ids count up");
            self.accounts.enter(arrival.share);
            self.waiting.push(Lane::new(arrival, now, self.store.tables()));
        }
        Ok(())
    }

    /// Forgets a sequence and gives its blocks back at once. What it computed stays known to
    /// the prefix cache while there is room.
    pub(crate) fn remove(&mut self, id: SequenceId) {
        if let Some(index) = self.running.iter().position(|lane| lane.id() == id) {
            let mut lane = self.running.remove(index);
            self.store.release(&mut lane.tables);
            self.accounts.leave(lane.arrival.share, false);
        } else if let Some(index) = self.waiting.iter().position(|lane| lane.id() == id) {
            let lane = self.waiting.remove(index);
            self.accounts.leave(lane.arrival.share, true);
        }
        self.audit();
    }

    /// Forgets a sequence whose results are of no use, and its blocks' content.
    pub(crate) fn disown(&mut self, id: SequenceId) {
        if let Some(lane) = self.running.iter().find(|lane| lane.id() == id) {
            self.store.disown(&lane.arrival.chain, lane.committed);
        }
        self.remove(id);
    }

    /// A token was drawn from a planned position. `computed` says that the next position was
    /// computed too: a draft had guessed the token.
    pub(crate) fn grow(&mut self, id: SequenceId, token: u32, computed: bool) {
        let lane = self.running_mut(id);
        assert_eq!(lane.computed, lane.known(), "a drawn token follows all known ones");
        lane.arrival.chain.push(token);
        lane.computed += u32::from(computed);
        assert!(lane.known() < lane.arrival.whole, "a whole sequence has ended");
        let share = lane.arrival.share;
        self.accounts.draw(share);
    }

    /// What was planned for a sequence was computed, and is sound: the prefix cache may know.
    pub(crate) fn commit(&mut self, id: SequenceId) {
        let index = self.running.iter().position(|lane| lane.id() == id);
        let Lane { tables, arrival, committed, computed, .. } =
            &mut self.running[index.expect("a planned sequence runs")];
        *committed = self.store.commit(tables, &arrival.chain, *committed, *computed);
    }

    /// Says how many tokens someone guesses to follow. They are computed with the next step, if
    /// that costs nobody else anything.
    pub(crate) fn draft(&mut self, id: SequenceId, tokens: u32) {
        self.running_mut(id).drafts = tokens;
    }

    /// Keeps what the prefix cache knows of a running sequence longer than the rest, until a
    /// point in time. Pinned blocks are given up before a running sequence has to give way.
    pub(crate) fn pin(&mut self, id: SequenceId, until: Duration) {
        if let Some(lane) = self.running.iter().find(|lane| lane.id() == id) {
            self.store.pin(&lane.arrival.chain, until);
        }
    }

    /// What was planned took so long.
    pub(crate) fn observe(&mut self, plan: &Plan, took: Duration) {
        self.pace.observe(plan, took);
    }

    /// The blocks of a running sequence, by group.
    pub(crate) fn tables(&self, id: SequenceId) -> &BlockTables {
        let lane = self.running.iter().find(|lane| lane.id() == id);
        &lane.expect("a planned sequence runs").tables
    }

    /// The sequences that wait for one token each, in the order of admission.
    pub(crate) fn decoding(&self) -> impl Iterator<Item = SequenceId> {
        self.running.iter().filter(|lane| lane.decodes()).map(Lane::id)
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

    /// How the blocks are used, in the group of layers that is nearest to its end.
    pub(crate) fn usage(&self) -> Usage {
        self.store.usage()
    }

    /// What happened since the start.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    fn running_mut(&mut self, id: SequenceId) -> &mut Lane {
        let lane = self.running.iter_mut().find(|lane| lane.id() == id);
        lane.expect("only a running sequence draws")
    }

    /// Where assertions are on: counts, tables and free lists agree, and order holds.
    fn audit(&self) {
        if cfg!(debug_assertions) {
            self.store.audit(self.running.iter().map(|lane| &lane.tables));
            let is_empty = |lane: &Lane| lane.tables.iter().all(|table| table.positions() == 0);
            assert!(self.waiting.iter().all(is_empty), "who waits holds nothing");
            assert!(self.running.is_sorted_by_key(|lane| lane.order), "first admitted first");
            assert!(self.waiting.is_sorted_by_key(|lane| lane.id()), "first come first");
        }
    }
}

#[cfg(test)]
mod tests;
