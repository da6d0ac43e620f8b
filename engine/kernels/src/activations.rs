//! Activations as integers: 32 columns a block, one row never looks at another.
//!
//! Eight rows are a *panel*: their blocks of the same columns lie side by side, which is the order in
//! which a tile of weights meets them. The last panel has the rows that are left.
//!
//! ```text
//! panel 0: (row 0, block 0) (row 1, block 0) ... (row 7, block 0) (row 0, block 1) ... (row 7, last)
//! panel 1: (row 8, block 0) ...
//! ```

use std::mem::MaybeUninit;

use crate::lanes::{Lanes, Quads};
use crate::norm::{Norm, norm_row};
use crate::path::{Kernel, Path, launch};
use crate::threads::split_rows;

/// In which form activations meet quantized weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activations {
    /// Rounded to 8 bits, with one scale per row and 32 columns; products are exact integers.
    #[default]
    Int8,
    /// As they are, against dequantized weights: the exact mode for comparisons with a reference.
    F32,
}

/// 32 columns of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Block {
    /// The integers in -127..=127.
    pub(crate) quads: Quads,
    /// What an integer is multiplied with.
    pub(crate) scale: f32,
    /// `-zero * sum` of the first and the last 16 integers (of all 32 in the first entry for kinds that
    /// scale 32 columns at once): where the integer products of codes with a zero point start.
    pub(crate) starts: [i32; 2],
    /// `scale * sum`, of the same columns: what the low end of the codes is multiplied with.
    pub(crate) sums: [f32; 2],
}

/// What the kind of the weights wants to know of the activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Parts of a block with a scale of their own: 1 or 2.
    pub(crate) subs: usize,
    /// Zero point of the codes.
    pub(crate) zero: i32,
}

/// Rows of a panel.
pub(crate) const PANEL: usize = 8;

/// Rounded activations, in panels.
pub(crate) struct Quantized {
    pub(crate) rows: usize,
    /// Of 32 columns, in a row.
    pub(crate) blocks: usize,
    panels: Vec<Block>,
}

impl Quantized {
    /// Rounds the rows of `x`, each of `32 * blocks` columns, once they are normalized by `norm`.
    pub(crate) fn new(
        path: Path,
        x: &[f32],
        blocks: usize,
        norm: Option<Norm<'_>>,
        wanted: Wanted,
    ) -> Quantized {
        let width = blocks * 32;
        let rows = x.len() / width;
        let mut panels = Vec::with_capacity(rows * blocks);
        let whole = &mut panels.spare_capacity_mut()[..rows * blocks];
        split_rows(whole, PANEL * blocks, PANEL * width / 4 + 1, |range, out| {
            let end = rows.min(range.end * PANEL);
            let x = &x[range.start * PANEL * width..end * width];
            launch(path, Round { x, blocks, norm, wanted, out });
        });
        // SAFETY: every panel has been written whole.
        #[allow(unsafe_code)]
        unsafe {
            panels.set_len(rows * blocks);
        }
        Quantized { rows, blocks, panels }
    }

    /// How many panels there are.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// A panel: its blocks, and how many rows lie side by side in it.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> (&[Block], usize) {
        let rows = PANEL.min(self.rows - panel * PANEL);
        (&self.panels[panel * PANEL * self.blocks..][..rows * self.blocks], rows)
    }
}

/// Some whole panels.
struct Round<'a> {
    x: &'a [f32],
    blocks: usize,
    norm: Option<Norm<'a>>,
    wanted: Wanted,
    out: &'a mut [MaybeUninit<Block>],
}

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.blocks * 32;
        let mut normed = vec![0.0; if self.norm.is_some() { width } else { 0 }];
        let panels = self.x.chunks(PANEL * width).zip(self.out.chunks_mut(PANEL * self.blocks));
        for (x, out) in panels {
            let rows = x.len() / width;
            assert_eq!(out.len(), rows * self.blocks);
            for (row, x) in x.chunks_exact(width).enumerate() {
                let x = match &self.norm {
                    Some(norm) => {
                        norm_row(l, x, norm, &mut normed);
                        &normed
                    }
                    None => x,
                };
                let (blocks, _) = x.as_chunks::<32>();
                for (block, x) in blocks.iter().enumerate() {
                    out[block * rows + row].write(quantize(x, self.wanted));
                }
            }
        }
    }
}

/// Rounds 32 columns of a row.
///
/// A block with a value that is not finite gets the scale NaN, so that the results say so. A block
/// whose largest value is below 1e-30 becomes zero.
#[inline(always)]
pub(crate) fn quantize(x: &[f32; 32], wanted: Wanted) -> Block {
    // as integers, because then the largest is the same in any order, NaN included
    let mut largest = 0;
    for x in x {
        largest = largest.max(x.to_bits() & 0x7fff_ffff);
    }
    let amplitude = f32::from_bits(largest);
    if !amplitude.is_finite() {
        return Block { quads: [0; 8], scale: f32::NAN, starts: [0; 2], sums: [f32::NAN; 2] };
    }
    if amplitude < 1e-30 {
        return Block { quads: [0; 8], scale: 0.0, starts: [0; 2], sums: [0.0; 2] };
    }
    let inverse = 127.0 / amplitude;
    // adding 1.5 * 2^23 leaves the nearest integer (ties to even) in the low bits
    let mut rounded = [0; 32];
    for (rounded, x) in rounded.iter_mut().zip(x) {
        *rounded = ((x * inverse + 12_582_912.0).to_bits() as i32).wrapping_sub(0x4b40_0000);
    }
    // no overflow to check: 16 times 127 at most
    let (first, second) = rounded.split_at(16);
    let sum = |part: &[i32]| part.iter().fold(0_i32, |sum, x| sum.wrapping_add(*x));
    let mut sums = [sum(first), sum(second)];
    if wanted.subs == 1 {
        sums = [sums[0] + sums[1], 0];
    }
    // all bytes first and the words after: so both are a few vector instructions
    let mut bytes = [0; 32];
    for (byte, r) in bytes.iter_mut().zip(&rounded) {
        *byte = *r as u8;
    }
    let mut quads = [0; 8];
    for (quad, four) in quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *quad = i32::from_le_bytes(*four);
    }
    let scale = amplitude / 127.0;
    Block {
        quads,
        scale,
        starts: [-wanted.zero * sums[0], -wanted.zero * sums[1]],
        sums: [scale * sums[0] as f32, scale * sums[1] as f32],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Wanted = Wanted { subs: 1, zero: 8 };

    fn integers(block: &Block) -> Vec<i32> {
        block.quads.iter().flat_map(|q| q.to_le_bytes()).map(|b| i32::from(b as i8)).collect()
    }

    #[test]
    fn the_largest_value_becomes_127_and_ties_go_to_even() {
        let mut x = [0.0; 32];
        x[..6].copy_from_slice(&[-127.0, 0.5, 1.5, 2.5, -0.5, 126.5]);
        let block = quantize(&x, WHOLE);
        assert_eq!(integers(&block)[..7], [-127, 0, 2, 2, 0, 126, 0]);
        assert_eq!(block.scale, 1.0);
        assert_eq!(block.starts, [-8 * 3, 0]);
        assert_eq!(block.sums, [3.0, 0.0]);
    }

    #[test]
    fn halves_are_summed_apart_when_wanted() {
        let x = std::array::from_fn(|i| if i < 16 { 127.0 } else { -127.0 });
        let block = quantize(&x, Wanted { subs: 2, zero: 1 });
        assert_eq!(block.sums, [127.0 * 16.0, -127.0 * 16.0]);
        assert_eq!(block.starts, [-127 * 16, 127 * 16]);
    }

    #[test]
    fn what_is_not_finite_is_seen_in_the_scale() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 32];
            x[17] = bad;
            assert!(quantize(&x, WHOLE).scale.is_nan(), "{bad}");
        }
        assert_eq!(quantize(&[1e-39; 32], WHOLE).scale, 0.0);
    }
}
