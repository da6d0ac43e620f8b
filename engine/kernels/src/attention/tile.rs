//! One block of keys or values against some queries.

use std::ops::Range;

use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::{LANES, Lanes};

use super::span::{CacheElement, SPAN, Strided, Weights};

/// One head of one row.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) vector: &'a [f32],
    /// Where its window begins: the first position that it attends to.
    pub(super) first: usize,
    /// One more than the last position that it attends to, its own.
    pub(super) count: usize,
    pub(super) row: usize,
    pub(super) head: usize,
}

/// Queries that are computed at a time, so that a vector of keys or values is loaded once for them.
const TOGETHER: usize = 4;

/// Writes the keys of a block as (width, 32): 32 positions side by side.
#[inline(always)]
pub(super) fn keys_across<L: Lanes, T: CacheElement>(
    l: L,
    block: Strided<'_, T>,
    tile: &mut [f32],
) {
    let columns = tile.as_chunks_mut::<BLOCK_TOKENS>().0;
    for half in 0..BLOCK_TOKENS / LANES {
        for (piece, columns) in columns.chunks_exact_mut(LANES).enumerate() {
            let mut square = [l.splat(0.0); LANES];
            for (i, row) in square.iter_mut().enumerate() {
                *row = T::load(l, &block.row(half * LANES + i)[piece]);
            }
            for (lanes, column) in l.transpose(square).into_iter().zip(columns) {
                l.store(lanes, &mut column.as_chunks_mut::<LANES>().0[half]);
            }
        }
    }
}

/// Writes the values of a block as (32, width).
#[inline(always)]
pub(super) fn values_down<L: Lanes, T: CacheElement>(
    l: L,
    block: Strided<'_, T>,
    tile: &mut [f32],
) {
    let width = tile.len() / BLOCK_TOKENS;
    for (position, row) in tile.chunks_exact_mut(width).enumerate() {
        for (to, from) in row.as_chunks_mut().0.iter_mut().zip(block.row(position)) {
            l.store(T::load(l, from), to);
        }
    }
}

/// Writes `scale * q k` of the 32 positions of a tile of keys to each query's scores from `at` on.
///
/// Order: over the width, ascending, one rounding a step; then the scale.
#[inline(always)]
pub(super) fn score<L: Lanes>(
    l: L,
    tile: &[f32],
    queries: &[Query<'_>],
    scale: f32,
    at: usize,
    scores: &mut [[f32; SPAN]],
) {
    let mut first = 0;
    while first < queries.len() {
        first += match queries.len() - first {
            TOGETHER.. => score_some::<L, TOGETHER>(l, tile, queries, scale, at, scores, first),
            2.. => score_some::<L, 2>(l, tile, queries, scale, at, scores, first),
            _ => score_some::<L, 1>(l, tile, queries, scale, at, scores, first),
        };
    }
}

#[inline(always)]
fn score_some<L: Lanes, const Q: usize>(
    l: L,
    tile: &[f32],
    queries: &[Query<'_>],
    scale: f32,
    at: usize,
    scores: &mut [[f32; SPAN]],
    first: usize,
) -> usize {
    let columns = tile.as_chunks::<BLOCK_TOKENS>().0;
    let q: [&[f32]; Q] = std::array::from_fn(|i| &queries[first + i].vector[..columns.len()]);
    let mut sums = [[l.splat(0.0); BLOCK_TOKENS / LANES]; Q];
    for (i, column) in columns.iter().enumerate() {
        let halves = column.as_chunks::<LANES>().0;
        let keys = [l.load(&halves[0]), l.load(&halves[1])];
        for row in 0..Q {
            let x = l.splat(q[row][i]);
            sums[row][0] = l.fma(x, keys[0], sums[row][0]);
            sums[row][1] = l.fma(x, keys[1], sums[row][1]);
        }
    }
    for (sums, scores) in sums.into_iter().zip(&mut scores[first..]) {
        let out = scores[at..][..BLOCK_TOKENS].as_chunks_mut::<LANES>().0;
        for (sum, out) in sums.into_iter().zip(out) {
            l.store(l.mul(sum, l.splat(scale)), out);
        }
    }
    Q
}

/// Adds the values of a tile, weighted, to the values of each query.
///
/// `start` is the absolute position of the block. Positions after a query's own and before its window
/// are not touched: what they hold depends on the rest of the batch. Order: by position, ascending, one
/// rounding a step.
#[inline(always)]
pub(super) fn add_values<L: Lanes>(
    l: L,
    tile: &[f32],
    queries: &[Query<'_>],
    start: usize,
    weights: Weights<'_>,
    values: &mut [f32],
) {
    let seen = |i: usize| {
        let query: &Query<'_> = &queries[i];
        query.first.saturating_sub(start)..(query.count - start).min(BLOCK_TOKENS)
    };
    let mut first = 0;
    while first < queries.len() {
        let left = queries.len() - first;
        // sorted by position: if the first of some attends to the end of the block and the last to its
        // beginning, so do those between
        let whole = left >= TOGETHER
            && seen(first).end == BLOCK_TOKENS
            && seen(first + TOGETHER - 1).start == 0;
        first += match left {
            TOGETHER.. if whole => {
                add_some::<L, TOGETHER>(l, tile, 0..BLOCK_TOKENS, weights, values, first)
            }
            2.. if seen(first) == seen(first + 1) => {
                add_some::<L, 2>(l, tile, seen(first), weights, values, first)
            }
            _ => add_some::<L, 1>(l, tile, seen(first), weights, values, first),
        };
    }
}

#[inline(always)]
fn add_some<L: Lanes, const Q: usize>(
    l: L,
    tile: &[f32],
    seen: Range<usize>,
    weights: Weights<'_>,
    values: &mut [f32],
    first: usize,
) -> usize {
    let pieces = tile.len() / BLOCK_TOKENS / LANES;
    let mut piece = 0;
    while piece < pieces {
        let seen = seen.clone();
        piece += match pieces - piece {
            4.. => add_pieces::<L, Q, 4>(l, tile, seen, weights, values, first, piece),
            _ => add_pieces::<L, Q, 1>(l, tile, seen, weights, values, first, piece),
        };
    }
    Q
}

/// `P` pieces of 16 of the width, for `Q` queries: the sums stay in registers over the block.
#[inline(always)]
fn add_pieces<L: Lanes, const Q: usize, const P: usize>(
    l: L,
    tile: &[f32],
    seen: Range<usize>,
    weights: Weights<'_>,
    values: &mut [f32],
    first: usize,
    piece: usize,
) -> usize {
    let pieces = tile.len() / BLOCK_TOKENS / LANES;
    let rows = tile.as_chunks::<LANES>().0;
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
    let rows = &rows[seen.start * pieces..seen.end * pieces];
    for (position, row) in rows.chunks_exact(pieces).enumerate() {
        let mut v = [l.splat(0.0); P];
        for p in 0..P {
            v[p] = l.load(&row[piece + p]);
        }
        for q in 0..Q {
            let weight = l.splat(probabilities[q][position]);
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
