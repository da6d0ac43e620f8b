//! 32 keys of one head, of 8 bits: what scores are computed of as exact integers.
//!
//! A key is rounded as activations are: 32 elements share a scale, here of 16 bits. A width that is not a
//! multiple of 32 is filled up with zeros. Some elements of keys are far larger than their neighbours,
//! and would leave these few steps: so before they are rounded, 32 elements are spread over each other by
//! a Walsh-Hadamard transform, and those of a query likewise, which multiplies their products by 32 and
//! changes nothing else (as in QuaRot, arXiv 2404.00456). Sixteen positions side by side are a tile, packed as weights
//! with a byte a code are (`q_matrix/block_tiles.rs`), with 128 as the zero point:
//!
//! ```text
//!                 position 0        position 1     ...     position 15
//! line g       c+0 c+1 c+2 c+3   c+0 c+1 c+2 c+3        c+0 c+1 c+2 c+3     c = 4 g
//!
//! positions  0..16: elements 0..32 (8 lines), 32..64 (8 lines), ...
//! positions 16..32: the same
//! then, in this order too: 16 scales, one a position
//! ```
#![allow(unsafe_code)]

use half::f16;

use crate::activations::{Block, Wanted, quantize};
use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::{LANES, Lanes};

/// What the codes' zero point asks of who is multiplied with them.
const WANTED: Wanted = Wanted { subs: 1, zero: 128 };
/// Lines of the codes of 32 elements.
const LINES: usize = 8;

/// How often 32 elements fit into a head, the last time perhaps in part.
pub(crate) fn groups(head_width: usize) -> usize {
    head_width.div_ceil(32)
}

/// Units of 16 bits that a block takes.
pub(crate) const fn units(head_width: usize) -> usize {
    // a byte an element, and a scale for 32 of them
    head_width.div_ceil(32) * BLOCK_TOKENS * 17
}

/// What products of spread elements are to be multiplied with.
pub(crate) const SPREAD_SCALE: f32 = 1.0 / 32.0;

/// Up to 32 elements of a key, or of a query that meets it, as integers.
#[inline(always)]
pub(crate) fn round<L: Lanes>(l: L, part: &[f32]) -> Block {
    quantize(&spread(l, part), WANTED)
}

/// The elements of a part of a head, spread over each other: sums and differences of all of them, at
/// distances of 1, 2, 4, 8 and 16.
#[inline(always)]
pub(crate) fn spread<L: Lanes>(l: L, part: &[f32]) -> [f32; 32] {
    let mut elements = match part.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut elements = [0.0; 32];
            elements[..part.len()].copy_from_slice(part);
            elements
        }
    };
    let (halves, _) = elements.as_chunks_mut::<LANES>();
    let [mut first, mut second] = [l.load(&halves[0]), l.load(&halves[1])];
    (first, second) = (stage::<L, 1>(l, first), stage::<L, 1>(l, second));
    (first, second) = (stage::<L, 2>(l, first), stage::<L, 2>(l, second));
    (first, second) = (stage::<L, 4>(l, first), stage::<L, 4>(l, second));
    (first, second) = (stage::<L, 8>(l, first), stage::<L, 8>(l, second));
    l.store(l.add(first, second), &mut halves[0]);
    l.store(l.sub(first, second), &mut halves[1]);
    elements
}

/// Sums and differences of lanes that are so far apart.
#[inline(always)]
fn stage<L: Lanes, const DISTANCE: usize>(l: L, x: L::F) -> L::F {
    const { assert!(DISTANCE < LANES) };
    let mut signs = [1.0; LANES];
    for (i, sign) in signs.iter_mut().enumerate() {
        if i & DISTANCE != 0 {
            *sign = -1.0;
        }
    }
    // a product with 1 or -1 is exact
    l.fma(x, l.load(&signs), l.swap::<DISTANCE>(x))
}

/// A block to be read.
#[derive(Clone, Copy)]
pub(crate) struct KeyBlock<'a> {
    groups: usize,
    codes: &'a [[u8; 64]],
    scales: &'a [[f16; LANES]],
}

impl<'a> KeyBlock<'a> {
    /// `units` are those of one block.
    #[inline(always)]
    pub(crate) fn new(units: &'a [f16]) -> KeyBlock<'a> {
        let groups = units.len() / (BLOCK_TOKENS * 17);
        let (codes, scales) = units.split_at(groups * BLOCK_TOKENS * 16);
        // SAFETY: any two bytes are a half and the other way round, and bytes need no alignment.
        let codes = unsafe { std::slice::from_raw_parts(codes.as_ptr().cast(), 2 * codes.len()) };
        KeyBlock { groups, codes: <[u8]>::as_chunks(codes).0, scales: scales.as_chunks().0 }
    }

    /// How often it holds 32 elements of each position.
    #[inline(always)]
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// 16 positions, 32 elements at a time: lines and scales.
    #[inline(always)]
    pub(crate) fn tile(
        &self,
        tile: usize,
    ) -> impl Iterator<Item = (&'a [[u8; 64]], &'a [f16; LANES])> + use<'a> {
        let of_tile = tile * self.groups..(tile + 1) * self.groups;
        let codes = &self.codes[of_tile.start * LINES..of_tile.end * LINES];
        codes.chunks_exact(LINES).zip(&self.scales[of_tile])
    }
}

/// Rounds `key` and writes it to a place of the block: `offset` is below 32.
#[inline(always)]
pub(crate) fn write<L: Lanes>(l: L, units: &mut [f16], offset: usize, key: &[f32]) {
    let groups = groups(key.len());
    let (codes, scales) = units.split_at_mut(groups * BLOCK_TOKENS * 16);
    let length = 2 * codes.len();
    // SAFETY: any two bytes are a half and the other way round, and bytes need no alignment.
    let codes = unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast::<u8>(), length) };
    let (words, _) = codes.as_chunks_mut::<4>();
    let (tile, lane) = (offset / LANES, offset % LANES);
    for group in 0..groups {
        let part = &key[32 * group..key.len().min(32 * group + 32)];
        let rounded = round(l, part);
        let at = tile * groups + group;
        for (line, quad) in rounded.quads.iter().enumerate() {
            // adds 128 to each byte
            words[(at * LINES + line) * LANES + lane] = (*quad as u32 ^ 0x8080_8080).to_le_bytes();
        }
        scales[at * LANES + lane] = f16::from_f32(rounded.scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Scalar;

    #[test]
    fn keys_are_where_tiles_look_for_them() {
        for width in [16, 32, 80] {
            let mut units = vec![f16::ZERO; units(width)];
            let key = |position: usize| -> Vec<f32> {
                (0..width).map(|i| ((i * 7 + position * 13) % 255) as f32 - 127.0).collect()
            };
            for position in 0..BLOCK_TOKENS {
                write(Scalar, &mut units, position, &key(position));
            }
            let block = KeyBlock::new(&units);
            for position in 0..BLOCK_TOKENS {
                let mut read = Vec::new();
                for (lines, scales) in block.tile(position / LANES) {
                    for line in lines {
                        let four = &line[position % LANES * 4..][..4];
                        let scale = scales[position % LANES].to_f32();
                        read.extend(four.iter().map(|code| scale * (f32::from(*code) - 128.0)));
                    }
                }
                // twice spread is 32 times as much
                let read: Vec<f32> = read
                    .chunks(32)
                    .flat_map(|part| spread(Scalar, part))
                    .map(|x| x / 32.0)
                    .collect();
                let exact = key(position);
                for (i, x) in read.into_iter().enumerate() {
                    let exact = exact.get(i).copied().unwrap_or(0.0);
                    assert!((x - exact).abs() <= 4.0, "{x} {exact}");
                }
            }
        }
    }
}
