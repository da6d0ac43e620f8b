//! One block of keys or values of 8 bits against some queries.

use crate::activations::Block;
use crate::key_block::KeyBlock;
use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::{FullBytes, LANES, Lanes};
use crate::value_block::{self, ValueBlock};

use super::scratch::Scores;
use super::span::Weights;
use super::tile::Query;

/// Writes `scale * q k` of the 32 positions of a block of keys to each query's scores from `at` on.
/// `rounded` are the queries, each of so many blocks as a key has groups.
///
/// Order: for each 32 elements, ascending: the exact integer product, times the product of the two
/// scales, added with one rounding; then the scale.
#[inline(always)]
pub(super) fn score_rounded<L: Lanes>(
    l: L,
    keys: KeyBlock<'_>,
    rounded: &[Block],
    scale: f32,
    at: usize,
    scores: &mut [Scores],
) {
    let groups = rounded.len() / scores.len();
    for tile in 0..BLOCK_TOKENS / LANES {
        let at = at + tile * LANES;
        let mut first = 0;
        while first < scores.len() {
            let left = scores.len() - first;
            let rounded = &rounded[first * groups..];
            let scores = &mut scores[first..];
            first += match left {
                8.. if L::ROWS_MAX >= 8 => {
                    score_tile::<L, 8>(l, keys, tile, rounded, scale, at, scores)
                }
                4.. if L::ROWS_MAX >= 4 => {
                    score_tile::<L, 4>(l, keys, tile, rounded, scale, at, scores)
                }
                3.. if L::ROWS_MAX >= 3 => {
                    score_tile::<L, 3>(l, keys, tile, rounded, scale, at, scores)
                }
                _ => score_tile::<L, 1>(l, keys, tile, rounded, scale, at, scores),
            };
        }
    }
}

#[inline(always)]
fn score_tile<L: Lanes, const Q: usize>(
    l: L,
    keys: KeyBlock<'_>,
    tile: usize,
    rounded: &[Block],
    scale: f32,
    at: usize,
    scores: &mut [Scores],
) -> usize {
    let groups = keys.groups();
    let rounded = &rounded[..Q * groups];
    let mut sums = [l.splat(0.0); Q];
    for (group, (lines, scales)) in keys.tile(tile).enumerate() {
        let mut quads = [&rounded[group].quads; Q];
        let mut starts = [&rounded[group].starts; Q];
        for q in 1..Q {
            let block = &rounded[q * groups + group];
            (quads[q], starts[q]) = (&block.quads, &block.starts);
        }
        let dots = l.dot::<FullBytes, 1, Q>(lines, quads, starts);
        let scales = l.load_f16(scales);
        for q in 0..Q {
            let scale = l.mul(scales, l.splat(rounded[q * groups + group].scale));
            sums[q] = l.fma(l.to_float(dots[q][0]), scale, sums[q]);
        }
    }
    for q in 0..Q {
        let out = scores[q][at..].first_chunk_mut::<LANES>().expect("16 positions of a span");
        l.store(l.mul(sums[q], l.splat(scale)), out);
    }
    Q
}

/// Adds the values of a block, weighted, to the values of each query, which are kept as the block's are.
/// `rounded` is memory for the weights.
///
/// `start` is the absolute position of the block. Positions after a query's own and before its window have
/// the weight 0: what they hold depends on the rest of the batch. Order: by block, ascending: the weights
/// times the scales of their positions, rounded to integers with one scale; the exact integer product,
/// times that scale, added with one rounding.
#[inline(always)]
pub(super) fn add_rounded<L: Lanes>(
    l: L,
    block: ValueBlock<'_>,
    queries: &[Query],
    start: usize,
    weights: Weights<'_>,
    rounded: &mut Vec<value_block::Weights>,
    values: &mut [f32],
) {
    let scales = block.scales(l);
    rounded.clear();
    for (query, scores) in queries.iter().zip(weights.scores) {
        let weights = &scores[weights.at..].first_chunk().expect("32 positions of a span");
        let seen = query.first.saturating_sub(start)..(query.count - start).min(BLOCK_TOKENS);
        rounded.push(if seen == (0..BLOCK_TOKENS) {
            value_block::Weights::round(weights, &scales)
        } else {
            let mut both = [[0.0; BLOCK_TOKENS]; 2];
            both[0][seen.clone()].copy_from_slice(&weights[seen.clone()]);
            both[1][seen.clone()].copy_from_slice(&scales[seen]);
            value_block::Weights::round(&both[0], &both[1])
        });
    }
    let width = values.len() / queries.len();
    for (tile, lines) in block.tiles().enumerate() {
        let mut first = 0;
        while first < queries.len() {
            let at = first * width + tile * LANES;
            let (rounded, values) = (&rounded[first..], &mut values[at..]);
            first += match rounded.len() {
                4.. if L::ROWS_MAX >= 4 => add_tile::<L, 4>(l, lines, rounded, values, width),
                3.. if L::ROWS_MAX >= 3 => add_tile::<L, 3>(l, lines, rounded, values, width),
                _ => add_tile::<L, 1>(l, lines, rounded, values, width),
            };
        }
    }
}

/// 16 elements for `Q` queries, whose values are `width` apart.
#[inline(always)]
fn add_tile<L: Lanes, const Q: usize>(
    l: L,
    lines: &[[u8; 64]],
    rounded: &[value_block::Weights],
    values: &mut [f32],
    width: usize,
) -> usize {
    let rounded = &rounded[..Q];
    let mut quads = [&rounded[0].quads; Q];
    let mut starts = [&rounded[0].starts; Q];
    for q in 1..Q {
        (quads[q], starts[q]) = (&rounded[q].quads, &rounded[q].starts);
    }
    let dots = l.dot::<FullBytes, 1, Q>(lines, quads, starts);
    for q in 0..Q {
        let sum = values[q * width..].first_chunk_mut::<LANES>().expect("16 elements of a value");
        l.store(l.fma(l.to_float(dots[q][0]), l.splat(rounded[q].scale), l.load(sum)), sum);
    }
    Q
}
