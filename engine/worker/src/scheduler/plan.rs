//! One step's plan.

use std::collections::BTreeMap;
use std::time::Duration;

use super::admission::Starts;
use super::{Scheduler, SequenceId};
use crate::kv::BlockCopy;

/// Positions of one sequence that a step computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    /// Whose.
    pub(crate) sequence: SequenceId,
    /// The first position.
    pub(crate) start: u32,
    /// How many, at least 1, drafts included.
    pub(crate) length: u32,
    /// How many of the last ones give logits: none while known tokens are left, else one, and
    /// one more for each draft.
    pub(crate) drawn: u32,
}

/// A sequence that started for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Admitted {
    /// Which.
    pub(crate) sequence: SequenceId,
    /// Tokens of its prompt that were computed before, by it or by others.
    pub(crate) cached: u32,
}

/// What a step does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Decoding sequences, then prompts. At most one chunk a sequence.
    pub(crate) chunks: Vec<Chunk>,
    /// Blocks to copy before anything is computed, in this order.
    pub(crate) copies: Vec<(SequenceId, BlockCopy)>,
    /// Sequences that started for the first time.
    pub(crate) admitted: Vec<Admitted>,
    /// Sequences that gave their blocks back and wait again.
    pub(crate) preempted: Vec<SequenceId>,
    /// Sequences that were given up, because their prompts cannot be read in time.
    pub(crate) expired: Vec<SequenceId>,
}

impl Plan {
    /// Tokens that the step reads.
    pub(crate) fn tokens(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }

    /// Rows that decode, drafts included, and those of prompts.
    pub(crate) fn rows(&self) -> (u32, u32) {
        let decodes = |chunk: &&Chunk| chunk.drawn == chunk.length;
        let decoding = self.chunks.iter().filter(decodes).map(|chunk| chunk.length).sum();
        (decoding, self.tokens() - decoding)
    }
}

/// What the prompts of one share may still take of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allotment {
    pub(super) share: u64,
    pub(super) tokens: u32,
}

impl Scheduler {
    /// Chooses what runs and reserves its blocks. Whoever calls it computes all of the plan,
    /// or removes the sequences in it.
    pub(crate) fn plan(&mut self, now: Duration) -> Plan {
        self.store.tick(now);
        for lane in &mut self.running {
            lane.settled = lane.computed;
            self.store.slide(&mut lane.tables, lane.computed);
        }
        let mut plan = Plan::default();
        self.expire(now, &mut plan);
        self.extend_decodes(&mut plan);
        let decoding = plan.tokens();
        let prompts = self.pace.prompts(decoding, self.step_tokens_max);
        let budget = decoding + prompts;
        debug_assert!(budget <= self.step_tokens_max, "a budget is within the step");
        let mut allotments = self.allotments(prompts);
        self.read(budget, &mut allotments, &mut plan);
        // what some shares have not taken is for all
        let left = budget.saturating_sub(plan.tokens());
        if left > 0 && allotments.len() > 1 {
            allotments.iter_mut().for_each(|allotment| allotment.tokens = left);
            self.read(budget, &mut allotments, &mut plan);
        }
        self.audit();
        plan
    }

    /// Every sequence that waits for one token gets its place, with its drafts while there are
    /// blocks to be had for them.
    fn extend_decodes(&mut self, plan: &mut Plan) {
        let decoding: Vec<_> = self.decoding().collect();
        let mut spare = self.step_tokens_max - decoding.len() as u32;
        for id in decoding {
            let Some(index) = self.index(id) else { continue };
            let lane = &mut self.running[index];
            let longest = lane.computed_max() - lane.known();
            let drafts = std::mem::take(&mut lane.drafts).min(longest).min(spare);
            spare -= drafts;
            self.extend(index, 1, drafts, plan);
        }
    }

    /// The tokens that are left for prompts, divided between the shares that have any by their
    /// weights.
    fn allotments(&self, tokens: u32) -> Vec<Allotment> {
        let reading = self.running.iter().filter(|lane| !lane.decodes());
        let has_place = self.running.len() < self.step_tokens_max as usize;
        let waiting = self.waiting.iter().filter(|_| has_place);
        let shares = reading.chain(waiting).map(|lane| lane.arrival.share);
        let weights: BTreeMap<u64, u32> =
            shares.map(|share| (share.key, share.weight.get())).collect();
        let all: u64 = weights.values().copied().map(u64::from).sum();
        let part = |weight: u32| (u64::from(tokens) * u64::from(weight)).div_ceil(all.max(1));
        weights
            .into_iter()
            .map(|(share, weight)| Allotment { share, tokens: part(weight) as u32 })
            .collect()
    }

    /// Prompts that run and prompts that may start, in the order in which they are due, while
    /// there are tokens for their shares.
    fn read(&mut self, budget: u32, allotments: &mut [Allotment], plan: &mut Plan) {
        let reading = self.running.iter().filter(|lane| lane.rest() > 0);
        let mut reading: Vec<_> =
            reading.map(|lane| (self.due(lane, lane.rest()), lane.id())).collect();
        reading.sort_unstable();
        let mut reading = reading.into_iter().peekable();
        let mut first = self.first(allotments, plan);
        while plan.tokens() < budget {
            let next = reading.peek().copied();
            let is_first = |starts: &Starts| next.is_none_or(|(due, _)| starts.due < due);
            if let Some(starts) = first.filter(is_first) {
                // prompts that were read since may have taken blocks that it was to begin with
                let Some(starts) = self.anew(starts) else {
                    first = None;
                    continue;
                };
                let id = self.start(starts, plan);
                self.lengthen(id, 1, budget, allotments, plan);
                first = self.first(allotments, plan);
            } else if let Some((_, id)) = next {
                reading.next();
                self.lengthen(id, 0, budget, allotments, plan);
                // who gave way for it must not come back at once, and moved the queue
                first = first.filter(|_| plan.preempted.is_empty());
            } else {
                return;
            }
        }
    }

    /// Plans what is left of a prompt, as far as the step and its share's allotment go: at least
    /// so many tokens of it where the step has room.
    fn lengthen(
        &mut self,
        id: SequenceId,
        least: u32,
        budget: u32,
        allotments: &mut [Allotment],
        plan: &mut Plan,
    ) {
        // it may have given way to an older one in the meantime
        let Some(index) = self.index(id) else { return };
        let share = self.running[index].arrival.share.key;
        let allotment = allotments.iter_mut().find(|allotment| allotment.share == share);
        let before = plan.tokens();
        let most = allotment.as_ref().map_or(0, |allotment| allotment.tokens).max(least);
        let length = self.running[index].rest().min(most).min(budget.saturating_sub(before));
        if length == 0 {
            return;
        }
        self.extend(index, length, 0, plan);
        if let Some(allotment) = allotment {
            let taken = plan.tokens().saturating_sub(before);
            allotment.tokens = allotment.tokens.saturating_sub(taken);
        }
    }

    /// Plans further positions of a running sequence, taking blocks from sequences that were
    /// admitted later if it must, and gives way itself if there is none.
    fn extend(&mut self, index: usize, length: u32, drafts: u32, plan: &mut Plan) {
        loop {
            let lane = &mut self.running[index];
            let start = lane.computed;
            let end = self.store.affordable(&lane.tables, start).min(start + length);
            if end > start {
                let drafts = if end < start + length { 0 } else { drafts };
                let with_drafts = self.store.reserve(&mut lane.tables, start, end + drafts);
                // drafts are worth no one's blocks
                let (copies, drafts) = match with_drafts {
                    Some(copies) => (copies, drafts),
                    None => {
                        (self.store.reserve(&mut lane.tables, start, end).unwrap_or_default(), 0)
                    }
                };
                let id = lane.id();
                plan.copies.extend(copies.into_iter().map(|copy| (id, copy)));
                return plan.push(lane.advance(end - start, drafts));
            }
            // who has got on in this step takes no one's blocks to get further, least of all its own
            let id = self.running[index].id();
            if plan.chunks.iter().any(|chunk| chunk.sequence == id) {
                return;
            }
            let victim = self.victim(index).unwrap_or(index);
            self.preempt(victim, plan);
            if victim == index {
                return;
            }
        }
    }

    /// Who gives way to a sequence: of those that were admitted later, the newest of the share
    /// that is most over-served.
    fn victim(&self, index: usize) -> Option<usize> {
        let later = index + 1..self.running.len();
        later.min_by_key(|index| {
            let lane = &self.running[*index];
            (self.accounts.standing(lane.arrival.share), std::cmp::Reverse(lane.order))
        })
    }

    fn preempt(&mut self, index: usize, plan: &mut Plan) {
        let mut lane = self.running.remove(index);
        let id = lane.id();
        self.store.release(&mut lane.tables);
        (lane.computed, lane.settled, lane.committed, lane.drafts) = (0, 0, 0, 0);
        plan.chunks.retain(|chunk| chunk.sequence != id);
        plan.copies.retain(|(sequence, _)| *sequence != id);
        plan.preempted.push(id);
        self.counters.preemptions += 1;
        self.accounts.give_way(lane.arrival.share);
        let place = self.waiting.partition_point(|waiting| waiting.id() < id);
        self.waiting.insert(place, lane);
    }

    fn index(&self, id: SequenceId) -> Option<usize> {
        self.running.iter().position(|lane| lane.id() == id)
    }
}

impl Plan {
    /// Adds a chunk, or appends it to the sequence's last one.
    fn push(&mut self, chunk: Chunk) {
        match self.chunks.iter_mut().find(|before| before.sequence == chunk.sequence) {
            None => self.chunks.push(chunk),
            Some(before) => {
                assert_eq!(before.start + before.length, chunk.start, "chunks follow each other");
                before.length += chunk.length;
                before.drawn = chunk.drawn;
            }
        }
    }
}
