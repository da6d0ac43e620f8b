//! One task: some rows of a sequence and the query heads that share one head of keys and values.

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

use super::tile::{Query, WORTH_FLOATS, add_values, score, score_rounded, to_floats};
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

/// Keys and values of one layer; values are (blocks, 32, kv heads, width).
#[derive(Clone, Copy)]
pub(super) struct Cache<'a, T> {
    pub(super) k: Keys<'a, T>,
    pub(super) v: &'a [T],
}

#[derive(Clone, Copy)]
pub(super) enum Keys<'a, T> {
    /// (blocks, kv heads, width, 32)
    Floats(&'a [T]),
    /// (blocks, kv heads, units of a block of keys)
    Rounded(&'a [f16]),
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

/// The state of one query: largest score, sum of exponentials. The weighted values are beside it.
#[derive(Clone, Copy)]
struct Partial {
    largest: f32,
    sum: f32,
}

impl<T: CacheElement> Kernel for Task<'_, T> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.heads.width;
        let queries = self.queries();
        let rounded = self.rounded(&queries);
        let groups = rounded.len() / queries.len().max(1);
        let mut scores = vec![[0.0; SPAN]; queries.len()];
        let mut values = vec![0.0; queries.len() * width];
        let mut merged = vec![0.0; queries.len() * width];
        let mut partials = vec![None; queries.len()];
        let mut fresh = vec![Partial { largest: 0.0, sum: 0.0 }; queries.len()];
        let mut tile = vec![0.0; BLOCK_TOKENS * width];

        let low = queries.first().map_or(0, |query| query.first);
        let last = queries.last().map_or(0, |query| query.count - 1);
        for span in low / SPAN..=last / SPAN {
            let first = span * SPAN;
            let blocks = first.max(low) / BLOCK_TOKENS..=last.min(first + SPAN - 1) / BLOCK_TOKENS;
            for block in blocks.clone() {
                let active = active(&queries, block * BLOCK_TOKENS, BLOCK_TOKENS);
                if active.is_empty() {
                    continue;
                }
                let at = block * BLOCK_TOKENS - first;
                let queries = &queries[active.clone()];
                let rounded = &rounded[active.start * groups..active.end * groups];
                self.score(l, block, (queries, rounded), at, &mut scores[active], &mut tile);
            }
            let active = active(&queries, first, SPAN);
            for i in active.clone() {
                let seen = &mut scores[i][..(queries[i].count - first).min(SPAN)];
                limit(l, self.options.softcap, queries[i].first.saturating_sub(first), seen);
                let (largest, sum) = exponentials(l, seen);
                fresh[i] = Partial { largest, sum };
            }
            values[active.start * width..active.end * width].fill(0.0);
            for block in blocks {
                let start = block * BLOCK_TOKENS;
                let active = self::active(&queries, start, BLOCK_TOKENS);
                if active.is_empty() {
                    continue;
                }
                let weights = Weights { scores: &scores[active.clone()], at: start - first };
                let values = &mut values[active.start * width..active.end * width];
                self.add_values(l, block, &queries[active], weights, values, &mut tile);
            }
            for i in active {
                let at = i * width..(i + 1) * width;
                merge(l, &mut partials[i], &mut merged[at.clone()], fresh[i], &values[at]);
            }
        }
        self.write(&queries, &partials, &mut merged);
    }
}

/// The exponentials of one block for some queries.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) scores: &'a [[f32; SPAN]],
    /// Where the block begins in the span.
    pub(super) at: usize,
}

/// The queries that attend to one of the `count` positions from `from` on. They are sorted by position,
/// and so are the beginnings of their windows: these are neighbours.
#[inline(always)]
fn active(queries: &[Query<'_>], from: usize, count: usize) -> std::ops::Range<usize> {
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
    /// The queries of all rows, by position.
    #[inline(always)]
    fn queries(&self) -> Vec<Query<'a>> {
        let Heads { queries, keys, width } = self.heads;
        let share = queries / keys;
        let mut all = Vec::with_capacity(self.rows.len() * share);
        for (i, row) in self.rows.iter().enumerate() {
            for head in self.kv_head * share..(self.kv_head + 1) * share {
                let row_in_batch = self.first_row + i;
                let at = (row_in_batch * queries + head) * width;
                all.push(Query {
                    vector: &self.q[at..at + width],
                    first: self.options.first(row.position) as usize,
                    count: row.position as usize + 1,
                    row: row_in_batch,
                    head,
                });
            }
        }
        all.sort_by_key(|query| query.count);
        all
    }

    /// The queries as integers, where the keys are: query by query, 32 elements a block.
    #[inline(always)]
    fn rounded(&self, queries: &[Query<'_>]) -> Vec<Block> {
        if matches!(self.cache.k, Keys::Floats(_)) {
            return Vec::new();
        }
        let groups = key_block::groups(self.heads.width);
        let mut rounded = Vec::with_capacity(queries.len() * groups);
        for query in queries {
            for part in query.vector.chunks(32) {
                rounded.push(key_block::round(part));
            }
        }
        rounded
    }

    /// Scores of a block of keys.
    #[inline(always)]
    fn score<L: Lanes>(
        &self,
        l: L,
        block: usize,
        (queries, rounded): (&[Query<'_>], &[Block]),
        at: usize,
        scores: &mut [[f32; SPAN]],
        tile: &mut [f32],
    ) {
        let Heads { keys: heads, width, .. } = self.heads;
        let place = self.table[block] as usize * heads + self.kv_head;
        let scale = self.options.scale;
        let keys = match self.cache.k {
            Keys::Floats(keys) => &keys[place * width * BLOCK_TOKENS..][..width * BLOCK_TOKENS],
            Keys::Rounded(keys) => {
                let units = key_block::units(width);
                let keys = KeyBlock::new(&keys[place * units..][..units]);
                let scale = scale * key_block::SPREAD_SCALE;
                return score_rounded(l, keys, rounded, scale, at, scores);
            }
        };
        if queries.len() < WORTH_FLOATS {
            return score(l, keys, queries, scale, at, scores);
        }
        to_floats(l, keys, tile);
        score(l, tile, queries, scale, at, scores);
    }

    /// Adds the values of a block.
    #[inline(always)]
    fn add_values<L: Lanes>(
        &self,
        l: L,
        block: usize,
        queries: &[Query<'_>],
        weights: Weights<'_>,
        values: &mut [f32],
        tile: &mut [f32],
    ) {
        let Heads { keys: heads, width, .. } = self.heads;
        let stride = heads * width;
        let start = self.table[block] as usize * BLOCK_TOKENS * stride + self.kv_head * width;
        let from = &self.cache.v[start..][..(BLOCK_TOKENS - 1) * stride + width];
        let rows = Strided { from, stride, width };
        let position = block * BLOCK_TOKENS;
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
    fn write(&self, queries: &[Query<'_>], partials: &[Option<Partial>], values: &mut [f32]) {
        let width = self.heads.width;
        for ((query, partial), values) in
            queries.iter().zip(partials).zip(values.chunks_exact_mut(width))
        {
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
