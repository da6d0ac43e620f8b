//! The scheduler without a model, on a clock of its own: what its policy does to those who wait.
//!
//! A step takes what a cost model says, so a rehearsal gives the same numbers on any machine, and
//! two policies can be compared without the machine's noise. Benchmarks use it too: nothing here
//! computes but the scheduler.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use engine_api::{CacheNamespace, ModelDigest, Share};

use crate::kv::{Chain, LayerGroup, Root};
use crate::scheduler::{Arrival, Chunk, Plan, Scheduler, SequenceId};

/// What a step takes: so much in any case, and so much for each row.
#[derive(Clone, Copy, Debug)]
pub struct StepCosts {
    /// For the weights to be read, however few rows there are.
    pub fixed: Duration,
    /// For each row.
    pub row: Duration,
    /// For each row whose logits are wanted, on top.
    pub drawn: Duration,
}

impl StepCosts {
    /// Nothing takes any time.
    pub const NONE: Self =
        Self { fixed: Duration::ZERO, row: Duration::ZERO, drawn: Duration::ZERO };

    fn of(&self, plan: &Plan) -> Duration {
        let drawn: u32 = plan.chunks.iter().map(|chunk| chunk.drawn).sum();
        self.fixed + self.row * plan.tokens() + self.drawn * drawn
    }
}

/// What a rehearsal has.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Blocks of 32 positions.
    pub blocks: u32,
    /// Tokens that a step reads at most, and so sequences that run at once.
    pub step_tokens_max: u32,
    /// What a step takes.
    pub costs: StepCosts,
}

/// What someone asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The prompt, at least one token.
    pub prompt: Vec<u32>,
    /// How many tokens are drawn, at least one.
    pub answer: u32,
    /// Whose it is.
    pub share: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was asked for, on the rehearsal's clock.
    pub asked: Duration,
    /// When each token came.
    pub came: Vec<Duration>,
    /// The tokens: a function of the prompt, so that the next turn can go on with them.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt that were computed before.
    pub cached: u32,
}

impl Answer {
    /// How long the first token took, of an answer that has one.
    pub fn first(&self) -> Duration {
        self.came[0] - self.asked
    }

    /// The waits between tokens.
    pub fn gaps(&self) -> impl Iterator<Item = Duration> {
        self.came.windows(2).map(|pair| pair[1] - pair[0])
    }
}

struct Part {
    answer: Answer,
    length: u32,
    seed: u32,
}

/// A scheduler, and the answers that it works on.
pub struct Rehearsal {
    scheduler: Scheduler,
    costs: StepCosts,
    now: Duration,
    next: u64,
    parts: BTreeMap<u64, Part>,
}

impl Rehearsal {
    /// Nobody has asked for anything yet.
    pub fn new(stage: Stage) -> Self {
        let group = LayerGroup { window: None, blocks: stage.blocks };
        Self {
            scheduler: Scheduler::new(&[group], stage.step_tokens_max, usize::MAX / 2),
            costs: stage.costs,
            now: Duration::ZERO,
            next: 0,
            parts: BTreeMap::new(),
        }
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass while nothing runs, up to a moment.
    pub fn wait(&mut self, until: Duration) {
        self.now = self.now.max(until);
    }

    /// Answers that are not whole.
    pub fn open(&self) -> usize {
        self.parts.len()
    }

    /// Asks now. `None` where the blocks can never hold it.
    pub fn ask(&mut self, ask: Ask) -> Option<u64> {
        let request = self.next;
        let root = Root::new(&ModelDigest([0; 32]), CacheNamespace([0; 16]));
        let prompt = ask.prompt.len() as u32;
        let seed = ask.prompt.iter().fold(ask.answer, |seed, id| seed.rotate_left(5) ^ id);
        let arrival = Arrival {
            id: SequenceId { request, choice: 0 },
            prompt,
            whole: prompt + ask.answer,
            chain: Chain::new(root, ask.prompt),
            share: Share { key: ask.share, weight: NonZeroU32::MIN },
            priority: 0,
            deadline: None,
        };
        self.scheduler.submit(vec![arrival], self.now).ok()?;
        self.next += 1;
        let answer = Answer { asked: self.now, came: Vec::new(), tokens: Vec::new(), cached: 0 };
        self.parts.insert(request, Part { answer, length: ask.answer, seed });
        Some(request)
    }

    /// One step, and the answers that are whole with it.
    pub fn step(&mut self) -> Vec<(u64, Answer)> {
        let plan = self.scheduler.plan(self.now);
        let took = self.costs.of(&plan);
        self.now += took;
        for admitted in &plan.admitted {
            let part = self.parts.get_mut(&admitted.sequence.request);
            part.expect("who starts has asked").answer.cached = admitted.cached;
        }
        let ended = plan.chunks.iter().filter_map(|chunk| self.draw(chunk)).collect();
        self.scheduler.observe(&plan, took);
        ended
    }

    /// Draws where a chunk gives logits, and gives the answer if that was its last token.
    fn draw(&mut self, chunk: &Chunk) -> Option<(u64, Answer)> {
        let (id, request) = (chunk.sequence, chunk.sequence.request);
        if chunk.drawn == 0 {
            self.scheduler.commit(id);
            return None;
        }
        let part = self.parts.get_mut(&request).expect("who runs has asked");
        let token = part.seed.wrapping_add(part.answer.tokens.len() as u32);
        part.answer.tokens.push(token);
        part.answer.came.push(self.now);
        if part.answer.tokens.len() as u32 == part.length {
            self.scheduler.commit(id);
            self.scheduler.remove(id);
            return self.parts.remove(&request).map(|part| (request, part.answer));
        }
        self.scheduler.grow(id, token, false);
        self.scheduler.commit(id);
        None
    }
}

#[cfg(test)]
mod tests;
