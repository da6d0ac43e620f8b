//! The product with activations of 8 bits.
//!
//! Order of one output: for each 32 columns (16 where the kind scales 16), ascending: the exact
//! integer product, times the product of the two scales, added with one rounding; then the low end
//! times the sum of the activations, added with one rounding.

use std::marker::PhantomData;

use crate::activations::{Block, Wanted, quantize_row};
use crate::lanes::{Codes, LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::shared_rows::SharedRows;
use crate::threads::split;

use super::block_tiles::BlockTiles;
use super::format::{Format, ScaleNumber, Visitor, visit};

/// `x` (rows, columns) times the transposed `tiles` into `out` (rows, outputs).
pub(super) fn product(path: Path, tiles: &BlockTiles, x: &[f32], rows: usize, out: &mut [f32]) {
    visit(tiles.kind, Product { path, tiles, x, rows, out });
}

struct Product<'a> {
    path: Path,
    tiles: &'a BlockTiles,
    x: &'a [f32],
    rows: usize,
    out: &'a mut [f32],
}

impl Visitor for Product<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let Product { path, tiles, x, rows, out } = self;
        let blocks = quantize(path, x, rows, tiles.blocks, F::WANTED);
        let out = SharedRows::new(out, tiles.rows);
        // about 60 products a nanosecond
        let cost = (tiles.blocks * 32 * LANES * rows / 60).max(1);
        split(tiles.tiles(), cost, |range| {
            let part = Part::<F> { tiles, x: &blocks, rows, range, out: &out, format: PhantomData };
            launch(path, part);
        });
    }
}

fn quantize(path: Path, x: &[f32], rows: usize, blocks: usize, wanted: Wanted) -> Vec<Block> {
    use rayon::prelude::*;

    let none = Block { quads: [0; 8], scale: 0.0, starts: [0; 2], sums: [0.0; 2] };
    let mut out = vec![none; rows * blocks];
    let rows_a_task = 16_384_usize.div_ceil(blocks * 32);
    if rows <= rows_a_task {
        launch(path, Quantize { x, wanted, out: &mut out });
    } else {
        x.par_chunks(rows_a_task * blocks * 32)
            .zip(out.par_chunks_mut(rows_a_task * blocks))
            .for_each(|(x, out)| launch(path, Quantize { x, wanted, out }));
    }
    out
}

struct Quantize<'a> {
    x: &'a [f32],
    wanted: Wanted,
    out: &'a mut [Block],
}

impl Kernel for Quantize<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        quantize_row(self.x, self.wanted, self.out);
    }
}

/// Some tiles times all rows.
struct Part<'a, F> {
    tiles: &'a BlockTiles,
    x: &'a [Block],
    rows: usize,
    range: std::ops::Range<usize>,
    out: &'a SharedRows<'a>,
    format: PhantomData<F>,
}

impl<F: Format> Kernel for Part<'_, F> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for tile in self.range.clone() {
            let mut row = 0;
            while row < self.rows {
                let left = self.rows - row;
                row += if L::ROWS_MAX >= 8 && left >= 8 {
                    self.rows_of_tile::<L, 8>(lanes, tile, row)
                } else if L::ROWS_MAX >= 4 && left >= 4 {
                    self.rows_of_tile::<L, 4>(lanes, tile, row)
                } else {
                    self.rows_of_tile::<L, 1>(lanes, tile, row)
                };
            }
        }
    }
}

impl<F: Format> Part<'_, F> {
    /// One tile times the `R` rows from `first` on; `R`.
    #[inline(always)]
    fn rows_of_tile<L: Lanes, const R: usize>(&self, l: L, tile: usize, first: usize) -> usize {
        let blocks = self.tiles.blocks;
        let lines = &self.tiles.lines[tile * blocks * F::Codes::LINES..];
        let vectors = &F::Scale::of(self.tiles)[tile * blocks * F::VECTORS..];
        let x: [&[Block]; R] = std::array::from_fn(|r| &self.x[(first + r) * blocks..][..blocks]);
        let mut sums = [l.splat(0.0); R];
        for block in 0..blocks {
            let lines = &lines[block * F::Codes::LINES..][..F::Codes::LINES];
            let vectors = &vectors[block * F::VECTORS..][..F::VECTORS];
            let mut quads = [&x[0][block].quads; R];
            let mut starts = [&x[0][block].starts; R];
            for r in 1..R {
                (quads[r], starts[r]) = (&x[r][block].quads, &x[r][block].starts);
            }
            let dots = match F::SUBS {
                1 => l.dot::<F::Codes, 1, R>(lines, quads, starts),
                _ => l.dot::<F::Codes, 2, R>(lines, quads, starts),
            };
            for sub in 0..F::SUBS {
                let at = sub * (F::VECTORS / F::SUBS);
                let scale = F::Scale::load(l, &vectors[at]);
                for r in 0..R {
                    let x = &x[r][block];
                    let scale = l.mul(scale, l.splat(x.scale));
                    sums[r] = l.fma(l.to_float(dots[r][sub]), scale, sums[r]);
                    if F::LOWS {
                        let low = F::Scale::load(l, &vectors[at + 1]);
                        sums[r] = l.fma(low, l.splat(x.sums[sub]), sums[r]);
                    }
                }
            }
        }
        write(l, self.out, first, tile, self.tiles.rows, sums);
        R
    }
}

/// Writes the outputs of `tile` for `R` rows from `first` on, without the rows that fill the tile up.
#[inline(always)]
pub(super) fn write<L: Lanes, const R: usize>(
    l: L,
    out: &SharedRows<'_>,
    first: usize,
    tile: usize,
    outputs: usize,
    sums: [L::F; R],
) {
    let column = tile * LANES;
    let width = LANES.min(outputs - column);
    for (r, sum) in sums.into_iter().enumerate() {
        let mut values = [0.0; LANES];
        l.store(sum, &mut values);
        // SAFETY: each tile is in one part of `split`, so one thread alone writes its columns.
        #[allow(unsafe_code)]
        unsafe {
            out.write(first + r, column, &values[..width]);
        }
    }
}
