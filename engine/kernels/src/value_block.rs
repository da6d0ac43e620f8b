//! 32 values of one head, of 8 bits: what weighted sums are computed of as exact integers.
//!
//! A value is rounded as a whole: all its elements share a scale of 16 bits, so that a weight can take the
//! scale of its position in before it is rounded itself. As keys are (`key_block.rs`), its elements are
//! spread over each other before, 32 at a time, and a width that is not a multiple of 32 is filled up
//! with zeros; a weighted sum of spread values is the spread sum, which is gathered once at the end.
//! Sixteen elements side by side are a tile, packed as weights with a byte a code are
//! (`q_matrix/block_tiles.rs`), with 128 as the zero point, positions in the place of columns:
//!
//! ```text
//!                 element 0         element 1      ...     element 15
//! line g       p+0 p+1 p+2 p+3   p+0 p+1 p+2 p+3        p+0 p+1 p+2 p+3     p = 4 g
//!
//! elements 0..16 (8 lines), 16..32 (8 lines), ...
//! then 32 scales, one a position
//! ```
#![allow(unsafe_code)]

use half::f16;

use crate::key_block::{SPREAD_SCALE, groups, spread};
use crate::kv_cache::BLOCK_TOKENS;
use crate::lanes::{LANES, Lanes, Quads};

/// Lines of the codes of 16 elements.
const LINES: usize = 8;

/// Elements of a head as it is kept.
pub(crate) const fn kept(head_width: usize) -> usize {
    head_width.div_ceil(32) * 32
}

/// Units of 16 bits that a block takes.
pub(crate) const fn units(head_width: usize) -> usize {
    // a byte an element and position, and a scale for each position
    BLOCK_TOKENS * (kept(head_width) / 2 + 1)
}

/// A block to be read.
#[derive(Clone, Copy)]
pub(crate) struct ValueBlock<'a> {
    codes: &'a [[u8; 64]],
    scales: &'a [[f16; LANES]],
}

impl<'a> ValueBlock<'a> {
    /// `units` are those of one block.
    #[inline(always)]
    pub(crate) fn new(units: &'a [f16]) -> ValueBlock<'a> {
        let (codes, scales) = units.split_at(units.len() - BLOCK_TOKENS);
        // SAFETY: any two bytes are a half and the other way round, and bytes need no alignment.
        let codes = unsafe { std::slice::from_raw_parts(codes.as_ptr().cast(), 2 * codes.len()) };
        ValueBlock { codes: <[u8]>::as_chunks(codes).0, scales: scales.as_chunks().0 }
    }

    /// The codes of 16 elements after the other.
    #[inline(always)]
    pub(crate) fn tiles(&self) -> impl Iterator<Item = &'a [[u8; 64]]> + use<'a> {
        self.codes.chunks_exact(LINES)
    }

    /// The scales of the positions.
    #[inline(always)]
    pub(crate) fn scales<L: Lanes>(&self, l: L) -> [f32; BLOCK_TOKENS] {
        let mut scales = [0.0; BLOCK_TOKENS];
        for (to, from) in scales.as_chunks_mut::<LANES>().0.iter_mut().zip(self.scales) {
            l.store(l.load_f16(from), to);
        }
        scales
    }
}

/// Weights of 32 positions, each times the scale of its position, as integers in 0..=127.
#[derive(Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) quads: Quads,
    /// What an integer is multiplied with; NaN if a weight or a scale is not finite.
    pub(crate) scale: f32,
    /// Where the integer products with codes start, because of their zero point.
    pub(crate) starts: [i32; 2],
}

impl Weights {
    /// Neither weights nor scales are negative.
    #[inline(always)]
    pub(crate) fn round(weights: &[f32; BLOCK_TOKENS], scales: &[f32; BLOCK_TOKENS]) -> Weights {
        let mut scaled = [0.0; BLOCK_TOKENS];
        for (scaled, (weight, scale)) in scaled.iter_mut().zip(weights.iter().zip(scales)) {
            *scaled = weight * scale;
        }
        // as integers, because then the largest is the same in any order, NaN included
        let mut largest = 0;
        for x in scaled {
            largest = largest.max(x.to_bits());
        }
        let amplitude = f32::from_bits(largest);
        if !amplitude.is_finite() {
            return Weights { quads: [0; 8], scale: f32::NAN, starts: [0; 2] };
        }
        let (inverse, scale) = match amplitude {
            ..1e-30 => (0.0, 0.0),
            _ => (127.0 / amplitude, amplitude * (1.0 / 127.0)),
        };
        let mut integers = [0; BLOCK_TOKENS];
        for (integer, x) in integers.iter_mut().zip(scaled) {
            // adding 1.5 * 2^23 leaves the nearest integer (ties to even) in the low bits
            *integer = ((x * inverse + 12_582_912.0).to_bits() as i32).wrapping_sub(0x4b40_0000);
        }
        // no overflow to check: 32 times 127 at most
        let sum = integers.iter().fold(0_i32, |sum, x| sum.wrapping_add(*x));
        let mut bytes = [0; BLOCK_TOKENS];
        for (byte, integer) in bytes.iter_mut().zip(integers) {
            *byte = integer as u8;
        }
        let mut quads = [0; 8];
        for (quad, four) in quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *quad = i32::from_le_bytes(*four);
        }
        Weights { quads, scale, starts: [-128 * sum, 0] }
    }
}

/// Gathers what was spread, 32 elements after the other.
#[inline(always)]
pub(crate) fn gather<L: Lanes>(l: L, values: &mut [f32]) {
    for part in values.as_chunks_mut::<32>().0 {
        let gathered = spread(l, part);
        for (to, from) in part.iter_mut().zip(gathered) {
            *to = from * SPREAD_SCALE;
        }
    }
}

/// Rounds `value` and writes it to a place of the block: `offset` is below 32.
///
/// A value with an element that is not finite gets the scale NaN, so that the results say so. One whose
/// largest element is below 1e-30 becomes zero.
#[inline(always)]
pub(crate) fn write<L: Lanes>(l: L, units: &mut [f16], offset: usize, value: &[f32]) {
    let (codes, scales) = units.split_at_mut(units.len() - BLOCK_TOKENS);
    let length = 2 * codes.len();
    // SAFETY: any two bytes are a half and the other way round, and bytes need no alignment.
    let codes = unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast::<u8>(), length) };
    let (lines, _) = codes.as_chunks_mut::<64>();
    // as integers, because then the largest is the same in any order, NaN included
    let mut largest = 0;
    for part in value.chunks(32) {
        for x in spread(l, part) {
            largest = largest.max(x.to_bits() & 0x7fff_ffff);
        }
    }
    let amplitude = f32::from_bits(largest);
    let (inverse, scale) = match amplitude {
        _ if !amplitude.is_finite() => (0.0, f32::NAN),
        ..1e-30 => (0.0, 0.0),
        _ => (127.0 / amplitude, amplitude / 127.0),
    };
    let (line, byte) = (offset / 4, offset % 4);
    for (group, part) in value.chunks(32).enumerate() {
        for (i, x) in spread(l, part).into_iter().enumerate() {
            // adding 1.5 * 2^23 leaves the nearest integer (ties to even) in the low bits, and 128 more
            let code = (x * inverse + 12_582_912.0 + 128.0).to_bits() as u8;
            let tile = group * 2 + i / LANES;
            lines[tile * LINES + line][i % LANES * 4 + byte] = code;
        }
    }
    debug_assert_eq!(lines.len(), groups(value.len()) * 2 * LINES);
    scales[offset] = f16::from_f32(scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Scalar;

    /// An element of a value.
    fn element(i: usize, position: usize) -> f32 {
        ((i * 7 + position * 13) % 255) as f32 - 127.0
    }

    #[test]
    fn values_are_where_tiles_look_for_them() {
        for width in [16, 32, 80] {
            let mut units = vec![f16::ZERO; units(width)];
            for position in 0..BLOCK_TOKENS {
                let value: Vec<f32> = (0..width).map(|i| element(i, position)).collect();
                write(Scalar, &mut units, position, &value);
            }
            let block = ValueBlock::new(&units);
            assert_eq!(block.tiles().count() * LANES, kept(width));
            for position in 0..BLOCK_TOKENS {
                let scale = block.scales.as_flattened()[position].to_f32();
                let code = |line: &[u8; 64], i: usize| f32::from(line[i * 4 + position % 4]);
                let mut read: Vec<f32> = block
                    .tiles()
                    .flat_map(|tile| (0..LANES).map(|i| code(&tile[position / 4], i) - 128.0))
                    .map(|code| code * scale)
                    .collect();
                gather(Scalar, &mut read);
                for (i, x) in read.into_iter().enumerate() {
                    let exact = if i < width { element(i, position) } else { 0.0 };
                    assert!((x - exact).abs() <= 4.0, "{x} {exact}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_or_nothing_is_seen_in_the_scale() {
        let mut units = vec![f16::ONE; units(48)];
        let mut value = [1.0; 48];
        value[40] = f32::INFINITY;
        write(Scalar, &mut units, 3, &value);
        write(Scalar, &mut units, 4, &[1e-39; 48]);
        let block = ValueBlock::new(&units);
        let scales = block.scales.as_flattened();
        assert!(scales[3].is_nan());
        assert_eq!(scales[4], f16::ZERO);
        assert_eq!(scales[5], f16::ONE, "others are left alone");
    }
}
