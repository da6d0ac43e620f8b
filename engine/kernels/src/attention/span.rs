//! One task: some rows of a sequence and the query heads that share one head of keys and values.

use std::ops::RangeInclusive;

use half::f16;

use crate::activations::Block;
use crate::float::{exp_lanes, first_lane};
use crate::key_block::{self, KeyBlock};
use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::{LANES, Lanes};
use crate::path::Kernel;
use crate::shared_rows::SharedRows;
use crate::soft_cap::cap_all;
use crate::softmax::exponentials;
use crate::value_block::{self, ValueBlock};

use super::rounded::{add_rounded, score_rounded};
use super::scratch::{Partial, Scores, Scratch, Tile};
use super::tile::{Query, WORTH_FLOATS, add_values, score, to_floats};
use super::{AttentionOptions, AttentionRow};

/// Positions whose partial result is computed by itself.
pub(super) const SPAN: usize = 256;

/// Counts of heads, and the width of one.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
}

/// Keys and values of one layer.
#[derive(Clone, Copy)]
pub(super) enum Cache<'a, T> {
    Floats {
        /// (blocks, kv heads, width, 32)
        k: &'a [T],
        /// (blocks, 32, kv heads, width)
        v: &'a [T],
    },
    Rounded {
        /// (blocks, kv heads, units of a block of keys)
        k: &'a [f16],
        /// (blocks, kv heads, units of a block of values)
        v: &'a [f16],
    },
}

/// A number that keys and values are kept as.
pub(super) trait CacheElement: Copy + Send + Sync {
    fn load<L: Lanes>(l: L, from: &[Self; LANES]) -> L::F;
}

impl CacheElement for f16 {
    #[inline(always)]
    fn load<L: Lanes>(l: L, from: &[f16; LANES]) -> L::F {
        l.load_f16(from)
    }
}

impl CacheElement for f32 {
    #[inline(always)]
    fn load<L: Lanes>(l: L, from: &[f32; LANES]) -> L::F {
        l.load(from)
    }
}

pub(super) struct Task<'a, T> {
    pub(super) heads: Heads,
    /// (rows of the batch, query heads, width)
    pub(super) q: &'a [f32],
    pub(super) cache: Cache<'a, T>,
    pub(super) table: &'a [u32],
    pub(super) rows: &'a [AttentionRow],
    /// Where `rows` begin in the batch.
    pub(super) first_row: usize,
    pub(super) kv_head: usize,
    pub(super) options: AttentionOptions,
    pub(super) out: &'a SharedRows<'a>,
}

impl<T: CacheElement> Kernel for Task<'_, T> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let mut scratch = Scratch::take();
        self.gather_queries(&mut scratch.queries);
        self.round_queries(l, &scratch.queries, &mut scratch.rounded);
        scratch.fit(self.kept());
        let low = scratch.queries.first().map_or(0, |query| query.first);
        let last = scratch.queries.last().map_or(0, |query| query.count - 1);
        for span in low / SPAN..=last / SPAN {
            let first = span * SPAN;
            let blocks = first.max(low) / BLOCK_TOKENS..=last.min(first + SPAN - 1) / BLOCK_TOKENS;
            self.span(l, first, blocks, &mut scratch);
        }
        self.write(l, &mut scratch);
        scratch.put_back();
    }
}

impl<T: CacheElement> Task<'_, T> {
    /// The positions from `first` on, as many as a span has, as far as `blocks` reach.
    #[inline(always)]
    fn span<L: Lanes>(
        &self,
        l: L,
        first: usize,
        blocks: RangeInclusive<usize>,
        scratch: &mut Scratch,
    ) {
        let width = self.kept();
        let Scratch { queries, rounded, scores, values, merged, partials, fresh, tile } = scratch;
        let groups = rounded.len() / queries.len().max(1);
        for block in blocks.clone() {
            let active = active(queries, block * BLOCK_TOKENS, BLOCK_TOKENS);
            if active.is_empty() {
                continue;
            }
            let at = block * BLOCK_TOKENS - first;
            let queries = &queries[active.clone()];
            let rounded = &rounded[active.start * groups..active.end * groups];
            self.score(l, block, (queries, rounded), at, &mut scores[active], tile);
        }
        let active = active(queries, first, SPAN);
        for i in active.clone() {
            let seen = &mut scores[i][..(queries[i].count - first).min(SPAN)];
            limit(l, self.options.softcap, queries[i].first.saturating_sub(first), seen);
            let (largest, sum) = exponentials(l, seen);
            fresh[i] = Partial { largest, sum };
        }
        values[active.start * width..active.end * width].fill(0.0);
        for block in blocks {
            let start = block * BLOCK_TOKENS;
            let active = self::active(queries, start, BLOCK_TOKENS);
            if active.is_empty() {
                continue;
            }
            let weights = Weights { scores: &scores[active.clone()], at: start - first };
            let values = &mut values[active.start * width..active.end * width];
            self.add_values(l, block, &queries[active], weights, values, tile);
        }
        for i in active {
            let at = i * width..(i + 1) * width;
            merge(l, &mut partials[i], &mut merged[at.clone()], fresh[i], &values[at]);
        }
    }
}

/// The exponentials of one block for some queries.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) scores: &'a [Scores],
    /// Where the block begins in the span.
    pub(super) at: usize,
}

/// The queries that attend to one of the `count` positions from `from` on. They are sorted by position,
/// and so are the beginnings of their windows: these are neighbours.
#[inline(always)]
fn active(queries: &[Query], from: usize, count: usize) -> std::ops::Range<usize> {
    let start = queries.partition_point(|query| query.count <= from);
    let end = queries.partition_point(|query| query.first < from + count);
    start..end.max(start)
}

/// Caps the scores of a span, and takes away those before the window, which begins at `begin`: what they
/// hold may be of another span, or of a block that is no longer the sequence's.
#[inline(always)]
fn limit<L: Lanes>(l: L, softcap: Option<f32>, begin: usize, scores: &mut [f32]) {
    if let Some(cap) = softcap {
        cap_all(l, scores, cap);
    }
    scores[..begin].fill(f32::NEG_INFINITY);
}

impl<'a, T: CacheElement> Task<'a, T> {
    /// Elements of a value as it is kept.
    #[inline(always)]
    fn kept(&self) -> usize {
        match self.cache {
            Cache::Floats { .. } => self.heads.width,
            Cache::Rounded { .. } => value_block::kept(self.heads.width),
        }
    }

    /// The queries of all rows, by position.
    #[inline(always)]
    fn gather_queries(&self, all: &mut Vec<Query>) {
        let Heads { queries, keys, width } = self.heads;
        let share = queries / keys;
        all.clear();
        for (i, row) in self.rows.iter().enumerate() {
            for head in self.kv_head * share..(self.kv_head + 1) * share {
                let row_in_batch = self.first_row + i;
                let at = (row_in_batch * queries + head) * width;
                all.push(Query {
                    at,
                    first: self.options.first(row.position) as usize,
                    count: row.position as usize + 1,
                    row: row_in_batch,
                    head,
                });
            }
        }
        all.sort_by_key(|query| query.count);
    }

    /// The queries as integers, where the keys are: query by query, 32 elements a block.
    #[inline(always)]
    fn round_queries<L: Lanes>(&self, l: L, queries: &[Query], rounded: &mut Vec<Block>) {
        rounded.clear();
        if matches!(self.cache, Cache::Floats { .. }) {
            return;
        }
        for query in queries {
            for part in self.q[query.at..][..self.heads.width].chunks(32) {
                rounded.push(key_block::round(l, part));
            }
        }
    }

    /// Scores of a block of keys.
    #[inline(always)]
    fn score<L: Lanes>(
        &self,
        l: L,
        block: usize,
        (queries, rounded): (&[Query], &[Block]),
        at: usize,
        scores: &mut [Scores],
        tile: &mut Tile,
    ) {
        let Heads { keys: heads, width, .. } = self.heads;
        let place = self.table[block] as usize * heads + self.kv_head;
        let scale = self.options.scale;
        let keys = match self.cache {
            Cache::Floats { k, .. } => &k[place * width * BLOCK_TOKENS..][..width * BLOCK_TOKENS],
            Cache::Rounded { k, .. } => {
                let units = key_block::units(width);
                let keys = KeyBlock::new(&k[place * units..][..units]);
                let scale = scale * key_block::SPREAD_SCALE;
                return score_rounded(l, keys, rounded, scale, at, scores);
            }
        };
        let tile = &mut tile.floats[..];
        if queries.len() < WORTH_FLOATS {
            return score(l, keys, (self.q, queries), scale, at, scores);
        }
        to_floats(l, keys, tile);
        score(l, tile, (self.q, queries), scale, at, scores);
    }

    /// Adds the values of a block.
    #[inline(always)]
    fn add_values<L: Lanes>(
        &self,
        l: L,
        block: usize,
        queries: &[Query],
        weights: Weights<'_>,
        values: &mut [f32],
        tile: &mut Tile,
    ) {
        let Heads { keys: heads, width, .. } = self.heads;
        let position = block * BLOCK_TOKENS;
        let place = self.table[block] as usize;
        let cache = match self.cache {
            Cache::Floats { v, .. } => v,
            Cache::Rounded { v, .. } => {
                let units = value_block::units(width);
                let block = ValueBlock::new(&v[(place * heads + self.kv_head) * units..][..units]);
                let rounded = &mut tile.weights;
                return add_rounded(l, block, queries, position, weights, rounded, values);
            }
        };
        let stride = heads * width;
        let start = place * BLOCK_TOKENS * stride + self.kv_head * width;
        let from = &cache[start..][..(BLOCK_TOKENS - 1) * stride + width];
        let rows = Strided { from, stride, width };
        let tile = &mut tile.floats[..];
        if queries.len() < WORTH_FLOATS {
            return add_values(l, rows, queries, position, weights, values);
        }
        for (i, tile) in tile.chunks_exact_mut(width).enumerate() {
            to_floats(l, rows.row(i).as_flattened(), tile);
        }
        let rows = Strided { from: tile, stride: width, width };
        add_values(l, rows, queries, position, weights, values);
    }

    #[inline(always)]
    fn write<L: Lanes>(&self, l: L, scratch: &mut Scratch) {
        let width = self.heads.width;
        let Scratch { queries, partials, merged: values, .. } = scratch;
        if matches!(self.cache, Cache::Rounded { .. }) {
            value_block::gather(l, values);
        }
        for ((query, partial), values) in
            queries.iter().zip(&*partials).zip(values.chunks_exact_mut(self.kept()))
        {
            let values = &mut values[..width];
            let partial = partial.expect("every row attends at least to its own position");
            for value in values.iter_mut() {
                *value /= partial.sum;
            }
            // SAFETY: a row is in one group, and its query head in one task of that group.
            #[allow(unsafe_code)]
            unsafe {
                self.out.write(query.row, query.head * width, values);
            }
        }
    }
}

/// Rows of `width`, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a, T> {
    from: &'a [T],
    stride: usize,
    width: usize,
}

impl<'a, T> Strided<'a, T> {
    /// Pieces of 16 of a row.
    #[inline(always)]
    pub(super) fn pieces(&self) -> usize {
        self.width / LANES
    }

    /// Row `position` in pieces of 16.
    #[inline(always)]
    pub(super) fn row(&self, position: usize) -> &'a [[T; LANES]] {
        self.from[position * self.stride..][..self.width].as_chunks().0
    }
}

/// Adds the partial result of a later span to what came before.
#[inline(always)]
fn merge<L: Lanes>(
    l: L,
    before: &mut Option<Partial>,
    merged: &mut [f32],
    fresh: Partial,
    values: &[f32],
) {
    let Some(old) = before else {
        *before = Some(fresh);
        merged.copy_from_slice(values);
        return;
    };
    let largest = if fresh.largest > old.largest { fresh.largest } else { old.largest };
    let keep = exp_lanes(l, l.splat(old.largest - largest));
    let add = exp_lanes(l, l.splat(fresh.largest - largest));
    let sum = l.fma(l.splat(old.sum), keep, l.mul(l.splat(fresh.sum), add));
    *before = Some(Partial { largest, sum: first_lane(l, sum) });
    let pieces = merged.as_chunks_mut::<LANES>().0.iter_mut().zip(values.as_chunks::<LANES>().0);
    for (merged, values) in pieces {
        let sum = l.fma(l.load(merged), keep, l.mul(l.load(values), add));
        l.store(sum, merged);
    }
}
