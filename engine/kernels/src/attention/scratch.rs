//! Memory that a thread uses for one task after the other.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use crate::activations::Block;
use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::LANES;
use crate::value_block;

use super::span::SPAN;
use super::tile::Query;

/// What a task needs beside its inputs. What is in it before means nothing.
#[derive(Default)]
pub(super) struct Scratch {
    /// By position.
    pub(super) queries: Vec<Query>,
    /// The queries as integers.
    pub(super) rounded: Vec<Block>,
    /// Of each query, in the span at hand.
    pub(super) scores: Vec<Scores>,
    /// Weighted values of each query, of the span at hand.
    pub(super) values: Vec<f32>,
    /// The same of all spans before.
    pub(super) merged: Vec<f32>,
    /// Of each query, of all spans before; `None` before the first.
    pub(super) partials: Vec<Option<Partial>>,
    /// Of each query, of the span at hand.
    pub(super) fresh: Vec<Partial>,
    pub(super) tile: Tile,
}

/// The state of one query: largest score, sum of exponentials. The weighted values are beside it.
#[derive(Clone, Copy)]
pub(super) struct Partial {
    pub(super) largest: f32,
    pub(super) sum: f32,
}

/// Memory for one block.
#[derive(Default)]
pub(super) struct Tile {
    /// Keys or values as floats.
    pub(super) floats: Vec<f32>,
    /// Weights of values that are integers.
    pub(super) weights: Vec<value_block::Weights>,
}

/// Scores of one query in a span. The place after them keeps those of the next queries out of the same
/// lines of the first-level cache.
#[derive(Clone, Copy)]
pub(super) struct Scores([f32; SPAN + LANES]);

impl Deref for Scores {
    type Target = [f32];

    #[inline(always)]
    fn deref(&self) -> &[f32] {
        &self.0[..SPAN]
    }
}

impl DerefMut for Scores {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0[..SPAN]
    }
}

thread_local! {
    static OF_THREAD: Cell<Scratch> = Cell::default();
}

impl Scratch {
    /// That of the thread.
    pub(super) fn take() -> Scratch {
        OF_THREAD.take()
    }

    /// Leaves it for the thread's next task.
    pub(super) fn put_back(self) {
        OF_THREAD.set(self);
    }

    /// Makes room for the queries, whose values are kept `width` wide.
    #[inline(always)]
    pub(super) fn fit(&mut self, width: usize) {
        let count = self.queries.len();
        self.scores.resize(count, Scores([0.0; SPAN + LANES]));
        self.values.resize(count * width, 0.0);
        self.merged.resize(count * width, 0.0);
        self.partials.clear();
        self.partials.resize(count, None);
        self.fresh.resize(count, Partial { largest: 0.0, sum: 0.0 });
        self.tile.floats.resize(BLOCK_TOKENS * width, 0.0);
    }
}
