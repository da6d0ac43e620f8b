//! One step's plan.

use super::{Lane, Scheduler, SequenceId};
use crate::kv::BLOCK_TOKENS;

/// Positions of one sequence that a step computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    /// Whose.
    pub(crate) sequence: SequenceId,
    /// The first position.
    pub(crate) start: u32,
    /// How many, at least 1.
    pub(crate) length: u32,
    /// Whether the last one is the last known, so that a token is drawn from its logits.
    pub(crate) drawn: bool,
}

/// What a step does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Decoding sequences, then prompts. At most one chunk a sequence.
    pub(crate) chunks: Vec<Chunk>,
    /// Sequences that gave their blocks back and wait again.
    pub(crate) preempted: Vec<SequenceId>,
}

impl Plan {
    /// Tokens that the step reads.
    pub(crate) fn tokens(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }
}

/// Where a waiting sequence gets the first blocks of its prompt from.
enum Donor {
    /// A sibling that has them all, by index among the running.
    Sibling(usize),
    /// A sibling is computing them: waiting for it costs less than doing it again.
    Soon,
    /// Nobody: it computes them itself.
    Nobody,
}

impl Scheduler {
    /// Chooses what runs and reserves its blocks. Whoever calls it computes all of the plan,
    /// or removes the sequences in it.
    pub(crate) fn plan(&mut self) -> Plan {
        let mut plan = Plan::default();
        self.extend_running(&mut plan, |lane| lane.lengths.known - lane.computed == 1);
        self.extend_running(&mut plan, |lane| lane.lengths.known - lane.computed > 1);
        self.admit(&mut plan);
        self.audit();
        plan
    }

    fn budget(&self, plan: &Plan) -> u32 {
        self.step_tokens_max - plan.tokens()
    }

    /// Plans the running sequences that are meant and not yet in the plan, oldest first.
    fn extend_running(&mut self, plan: &mut Plan, is_meant: impl Fn(&Lane) -> bool) {
        let mut index = 0;
        while index < self.running.len() && self.budget(plan) > 0 {
            if is_meant(&self.running[index]) && !self.extend(index, plan) {
                // it gave way itself, and so did everyone after it
                return;
            }
            index += 1;
        }
    }

    /// Plans the next chunk of a running sequence, taking blocks from newer ones if it must.
    /// On `false` it was the newest and gave way itself.
    fn extend(&mut self, index: usize, plan: &mut Plan) -> bool {
        loop {
            let budget = self.budget(plan);
            let lane = &mut self.running[index];
            let length = budget.min(lane.lengths.known - lane.computed);
            if lane.table.reserve(lane.computed + length, &mut self.pool) {
                plan.chunks.push(lane.advance(length));
                return true;
            }
            let newest = self.running.len() - 1;
            self.preempt_newest(plan);
            if newest == index {
                return false;
            }
        }
    }

    fn preempt_newest(&mut self, plan: &mut Plan) {
        let mut lane = self.running.pop().expect("a sequence that wants a block runs");
        lane.table.release(&mut self.pool);
        lane.computed = 0;
        plan.chunks.retain(|chunk| chunk.sequence != lane.id);
        plan.preempted.push(lane.id);
        self.preemptions += 1;
        // running sequences are older than all that wait
        self.waiting.push_front(lane);
    }

    /// Starts waiting sequences in order, while tokens, places and blocks last.
    fn admit(&mut self, plan: &mut Plan) {
        // whoever just gave way would only take back what others now need
        while plan.preempted.is_empty() && self.running.len() < self.step_tokens_max as usize {
            let Some(lane) = self.waiting.front() else { return };
            let (shared, donor) = match self.donor(lane) {
                Donor::Sibling(index) => (lane.shareable(), Some(index)),
                Donor::Nobody if self.budget(plan) > 0 => (0, None),
                Donor::Nobody | Donor::Soon => return,
            };
            if lane.blocks_to_admit() - shared / BLOCK_TOKENS > self.pool.free() {
                return;
            }
            let mut lane = self.waiting.pop_front().expect("it was looked at");
            if let Some(index) = donor {
                let blocks = shared / BLOCK_TOKENS;
                lane.table = self.running[index].table.share(blocks, &mut self.pool);
                lane.computed = shared;
            }
            let positions = lane.blocks_to_admit() * BLOCK_TOKENS;
            assert!(lane.table.reserve(positions, &mut self.pool), "free blocks were counted");
            let length = self.budget(plan).min(lane.lengths.known - lane.computed);
            if length > 0 {
                plan.chunks.push(lane.advance(length));
            }
            self.running.push(lane);
        }
    }

    /// A donor's blocks may be those that this very step writes: within a layer, all keys and
    /// values are written before any row attends.
    fn donor(&self, lane: &Lane) -> Donor {
        let wanted = lane.shareable();
        if wanted == 0 {
            return Donor::Nobody;
        }
        let is_sibling = |other: &Lane| other.id.request == lane.id.request;
        let has_all = |other: &Lane| is_sibling(other) && other.computed >= wanted;
        match self.running.iter().position(has_all) {
            Some(index) => Donor::Sibling(index),
            None if self.running.iter().any(is_sibling) => Donor::Soon,
            None => Donor::Nobody,
        }
    }
}

impl Lane {
    /// The next chunk, which counts as computed from now on.
    fn advance(&mut self, length: u32) -> Chunk {
        let start = self.computed;
        self.computed += length;
        let drawn = self.computed == self.lengths.known;
        Chunk { sequence: self.id, start, length, drawn }
    }
}
