//! One block of keys or values against some queries.

use std::ops::Range;

use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::{LANES, Lanes};

use super::scratch::Scores;
use super::span::{CacheElement, Strided, Weights};

/// One head of one row.
#[derive(Clone, Copy)]
pub(super) struct Query {
    /// Where its elements begin among all queries of the batch.
    pub(super) at: usize,
    /// Where its window begins: the first position that it attends to.
    pub(super) first: usize,
    /// One more than the last position that it attends to, its own.
    pub(super) count: usize,
    pub(super) row: usize,
    pub(super) head: usize,
}

/// From how many queries on a block is turned into floats once, instead of by each few of them.
pub(super) const WORTH_FLOATS: usize = 9;

/// Turns what lies in a cache into floats.
#[inline(always)]
pub(super) fn to_floats<L: Lanes, T: CacheElement>(l: L, from: &[T], to: &mut [f32]) {
    for (to, from) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(from.as_chunks().0) {
        l.store(T::load(l, from), to);
    }
}

/// Writes `scale * q k` of the 32 positions of a block of keys, (width, 32), to each query's scores from
/// `at` on.
///
/// Order: over the width, ascending, one rounding a step; then the scale.
#[inline(always)]
pub(super) fn score<L: Lanes, T: CacheElement>(
    l: L,
    keys: &[T],
    queries: (&[f32], &[Query]),
    scale: f32,
    at: usize,
    scores: &mut [Scores],
) {
    let mut first = 0;
    while first < scores.len() {
        first += match scores.len() - first {
            4.. => score_some::<L, T, 4>(l, keys, queries, scale, at, scores, first),
            3 => score_some::<L, T, 3>(l, keys, queries, scale, at, scores, first),
            2 => score_some::<L, T, 2>(l, keys, queries, scale, at, scores, first),
            _ => score_some::<L, T, 1>(l, keys, queries, scale, at, scores, first),
        };
    }
}

#[inline(always)]
fn score_some<L: Lanes, T: CacheElement, const Q: usize>(
    l: L,
    keys: &[T],
    queries: (&[f32], &[Query]),
    scale: f32,
    at: usize,
    scores: &mut [Scores],
    first: usize,
) -> usize {
    let (vectors, queries) = queries;
    let columns = keys.as_chunks::<BLOCK_TOKENS>().0;
    let q: [&[f32]; Q] =
        std::array::from_fn(|i| &vectors[queries[first + i].at..][..columns.len()]);
    let mut sums = [[l.splat(0.0); BLOCK_TOKENS / LANES]; Q];
    for (i, column) in columns.iter().enumerate() {
        let halves = column.as_chunks::<LANES>().0;
        let keys = [T::load(l, &halves[0]), T::load(l, &halves[1])];
        for row in 0..Q {
            let x = l.splat(q[row][i]);
            sums[row][0] = l.fma(x, keys[0], sums[row][0]);
            sums[row][1] = l.fma(x, keys[1], sums[row][1]);
        }
    }
    for row in 0..Q {
        let out = scores[first + row][at..][..BLOCK_TOKENS].as_chunks_mut::<LANES>().0;
        for half in 0..BLOCK_TOKENS / LANES {
            l.store(l.mul(sums[row][half], l.splat(scale)), &mut out[half]);
        }
    }
    Q
}

/// Adds the values of a block, weighted, to the values of each query.
///
/// `start` is the absolute position of the block. Positions after a query's own and before its window
/// are not touched: what they hold depends on the rest of the batch. Order: by position, ascending, one
/// rounding a step.
#[inline(always)]
pub(super) fn add_values<L: Lanes, T: CacheElement>(
    l: L,
    block: Strided<'_, T>,
    queries: &[Query],
    start: usize,
    weights: Weights<'_>,
    values: &mut [f32],
) {
    let seen = |i: usize| {
        let query: &Query = &queries[i];
        query.first.saturating_sub(start)..(query.count - start).min(BLOCK_TOKENS)
    };
    let mut first = 0;
    while first < queries.len() {
        // neighbours that see the same part of the block, up to four
        let mine = seen(first);
        let most = (queries.len() - first).min(4);
        let together = (1..most).take_while(|i| seen(first + i) == mine).count() + 1;
        first += match together {
            4 => add_some::<L, T, 4>(l, block, mine, weights, values, first),
            3 => add_some::<L, T, 3>(l, block, mine, weights, values, first),
            2 => add_some::<L, T, 2>(l, block, mine, weights, values, first),
            _ => add_some::<L, T, 1>(l, block, mine, weights, values, first),
        };
    }
}

#[inline(always)]
fn add_some<L: Lanes, T: CacheElement, const Q: usize>(
    l: L,
    block: Strided<'_, T>,
    seen: Range<usize>,
    weights: Weights<'_>,
    values: &mut [f32],
    first: usize,
) -> usize {
    let pieces = block.pieces();
    let mut piece = 0;
    while piece < pieces {
        let seen = seen.clone();
        piece += match pieces - piece {
            4.. => add_pieces::<L, T, Q, 4>(l, block, seen, weights, values, first, piece),
            _ => add_pieces::<L, T, Q, 1>(l, block, seen, weights, values, first, piece),
        };
    }
    Q
}

/// `P` pieces of 16 of the width, for `Q` queries: the sums stay in registers over the block.
#[inline(always)]
fn add_pieces<L: Lanes, T: CacheElement, const Q: usize, const P: usize>(
    l: L,
    block: Strided<'_, T>,
    seen: Range<usize>,
    weights: Weights<'_>,
    values: &mut [f32],
    first: usize,
    piece: usize,
) -> usize {
    let pieces = block.pieces();
    let values = values.as_chunks_mut::<LANES>().0;
    let at = |q: usize, p: usize| (first + q) * pieces + piece + p;
    let probabilities: [&[f32]; Q] =
        std::array::from_fn(|q| &weights.scores[first + q][weights.at..][seen.clone()]);
    let mut sums = [[l.splat(0.0); P]; Q];
    for q in 0..Q {
        for p in 0..P {
            sums[q][p] = l.load(&values[at(q, p)]);
        }
    }
    for (i, position) in seen.enumerate() {
        let row = &block.row(position)[piece..piece + P];
        let mut v = [l.splat(0.0); P];
        for p in 0..P {
            v[p] = T::load(l, &row[p]);
        }
        for q in 0..Q {
            let weight = l.splat(probabilities[q][i]);
            for p in 0..P {
                sums[q][p] = l.fma(weight, v[p], sums[q][p]);
            }
        }
    }
    for q in 0..Q {
        for p in 0..P {
            l.store(sums[q][p], &mut values[at(q, p)]);
        }
    }
    P
}
