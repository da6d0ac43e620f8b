//! The product with activations of 8 bits.
//!
//! Order of one output: for each 32 columns (16 where the kind scales 16), ascending: the exact
//! integer product, times the product of the two scales, added with one rounding; then the low end
//! times the sum of the activations, added with one rounding.
//!
//! Order of the work, which no result depends on: as many tiles as stay in the second-level cache, times
//! one panel of activations after the other, which stays in the first; so that a large batch does not
//! fetch its activations anew for every tile, nor a small one the weights. A panel has as many rows as
//! the first-level cache has ways: where rows of outputs are so long that their places meet in one set,
//! more would drive each other out.

use std::marker::PhantomData;
use std::ops::Range;

use crate::activations::{Block, PANEL, Quantized};
use crate::float::load_part;
use crate::gate::{Gate, gated_lanes};
use crate::lanes::{Codes, LANES, Lanes, Line};
use crate::path::{Kernel, Path, launch};
use crate::shared_rows::SharedRows;
use crate::threads::split;

use super::block_tiles::BlockTiles;
use super::format::{Format, ScaleNumber, Visitor, visit};

/// What is made of the products of a tile.
#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    /// They are the outputs.
    Write,
    /// They are added to what lies at the same place of a matrix of the outputs' shape.
    Add(&'a [f32]),
    /// They are the gate of the products of another matrix of the same kind and shape.
    Gate(&'a BlockTiles, Gate),
}

/// All products of a matrix and the rows of `x`.
pub(super) fn product(
    path: Path,
    tiles: &BlockTiles,
    x: &Quantized,
    sink: Sink<'_>,
    out: &SharedRows<'_>,
) {
    let products = |range| Products { tiles, x, range, sink, out };
    let matrices = if matches!(sink, Sink::Gate(..)) { 2 } else { 1 };
    split(tiles.tiles(), matrices * products(0..0).cost(), |range| products(range).run(path));
}

/// Some tiles of a matrix times all rows of `x`.
pub(super) struct Products<'a> {
    pub(super) tiles: &'a BlockTiles,
    pub(super) x: &'a Quantized,
    pub(super) range: Range<usize>,
    pub(super) sink: Sink<'a>,
    /// (rows of `x`, rows of the matrix)
    pub(super) out: &'a SharedRows<'a>,
}

impl Products<'_> {
    /// Computes them with the instructions of `path`.
    pub(super) fn run(self, path: Path) {
        struct With<'a>(Path, Products<'a>);
        impl Visitor for With<'_> {
            type Output = ();

            fn visit<F: Format>(self) {
                launch(self.0, Part::<F> { products: self.1, format: PhantomData });
            }
        }
        visit(self.tiles.kind, With(path, self));
    }

    /// The work of one tile, in about a nanosecond.
    pub(super) fn cost(&self) -> usize {
        // about 60 products a nanosecond
        self.tiles.blocks * 32 * LANES * self.x.rows / 60 + 1
    }
}

struct Part<'a, F> {
    products: Products<'a>,
    format: PhantomData<F>,
}

/// Bytes of weights that are gone through again and again: half of a small second-level cache.
const WEIGHT_BYTES: usize = 256 << 10;

impl<F: Format> Kernel for Part<'_, F> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Products { tiles, x, range, .. } = &self.products;
        let tile_bytes =
            tiles.blocks * (F::Codes::LINES * 64 + F::VECTORS * size_of::<F::Scale>() * LANES);
        let tiles_a_round = (WEIGHT_BYTES / tile_bytes).max(1);
        for first in range.clone().step_by(tiles_a_round) {
            let last = range.end.min(first + tiles_a_round);
            for panel in 0..x.panels() {
                for tile in first..last {
                    self.panel_of_tile(l, tile, panel);
                }
            }
        }
    }
}

impl<F: Format> Part<'_, F> {
    /// One tile times the rows of one panel.
    #[inline(always)]
    fn panel_of_tile<L: Lanes>(&self, l: L, tile: usize, panel: usize) {
        let (blocks, rows) = self.products.x.panel(panel);
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            let first = panel * PANEL + row;
            row += if L::ROWS_MAX >= 8 && left >= 8 {
                self.rows_of_tile::<L, 8>(l, tile, blocks, (row, rows), first)
            } else if L::ROWS_MAX >= 4 && left >= 4 {
                self.rows_of_tile::<L, 4>(l, tile, blocks, (row, rows), first)
            } else if L::ROWS_MAX >= 2 && left >= 2 {
                self.rows_of_tile::<L, 2>(l, tile, blocks, (row, rows), first)
            } else {
                self.rows_of_tile::<L, 1>(l, tile, blocks, (row, rows), first)
            };
        }
    }

    /// One tile times `R` rows: `at` is the first of them in the panel, and the rows of the panel;
    /// `first` is its number in the batch. `R`.
    #[inline(always)]
    fn rows_of_tile<L: Lanes, const R: usize>(
        &self,
        l: L,
        tile: usize,
        panel: &[Block],
        at: (usize, usize),
        first: usize,
    ) -> usize {
        let Products { tiles, sink, out, .. } = &self.products;
        let (second, count) = match *sink {
            Sink::Gate(up, _) => (up, 2),
            _ => (*tiles, 1),
        };
        let mut both = [[l.splat(0.0); R]; 2];
        for i in 0..count {
            let tiles = if i == 0 { tiles } else { second };
            both[i] = sums::<L, F, R>(l, tiles, tile, panel, at);
        }
        let [mut sums, up] = both;
        match *sink {
            Sink::Write => {}
            Sink::Add(to) => add(l, to, out.width(), first, tile, &mut sums),
            Sink::Gate(_, function) => {
                for r in 0..R {
                    sums[r] = gated_lanes(l, sums[r], up[r], function);
                }
            }
        }
        write(l, out, first, tile, tiles.rows, sums);
        R
    }
}

/// The products of one tile and `R` neighbours in a panel.
#[inline(always)]
fn sums<L: Lanes, F: Format, const R: usize>(
    l: L,
    tiles: &BlockTiles,
    tile: usize,
    panel: &[Block],
    (row, rows): (usize, usize),
) -> [L::F; R] {
    let lines = &tiles.lines[tile * tiles.blocks * F::Codes::LINES..];
    let lines = Line::bytes(&lines[..tiles.blocks * F::Codes::LINES]);
    let lines = lines.chunks_exact(F::Codes::LINES);
    let vectors = &F::Scale::of(tiles)[tile * tiles.blocks * F::VECTORS..];
    let vectors = vectors[..tiles.blocks * F::VECTORS].chunks_exact(F::VECTORS);
    let mut sums = [l.splat(0.0); R];
    for ((lines, vectors), x) in lines.zip(vectors).zip(panel.chunks_exact(rows)) {
        let x = &x[row..row + R];
        let mut quads = [&x[0].quads; R];
        let mut starts = [&x[0].starts; R];
        for r in 1..R {
            (quads[r], starts[r]) = (&x[r].quads, &x[r].starts);
        }
        let dots = match F::SUBS {
            1 => l.dot::<F::Codes, 1, R>(lines, quads, starts),
            _ => l.dot::<F::Codes, 2, R>(lines, quads, starts),
        };
        for sub in 0..F::SUBS {
            let at = sub * (F::VECTORS / F::SUBS);
            let scale = F::Scale::load(l, &vectors[at]);
            for r in 0..R {
                let scale = l.mul(scale, l.splat(x[r].scale));
                sums[r] = l.fma(l.to_float(dots[r][sub]), scale, sums[r]);
                if F::LOWS {
                    let low = F::Scale::load(l, &vectors[at + 1]);
                    sums[r] = l.fma(low, l.splat(x[r].sums[sub]), sums[r]);
                }
            }
        }
    }
    sums
}

/// Adds to the products what lies at their place in `to`, whose rows are `width` wide.
#[inline(always)]
fn add<L: Lanes, const R: usize>(
    l: L,
    to: &[f32],
    width: usize,
    first: usize,
    tile: usize,
    sums: &mut [L::F; R],
) {
    let column = tile * LANES;
    for r in 0..R {
        let to = &to[(first + r) * width + column..];
        let to = match to.first_chunk::<LANES>() {
            Some(to) if column + LANES <= width => l.load(to),
            _ => load_part(l, &to[..width - column], 0.0),
        };
        sums[r] = l.add(to, sums[r]);
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
    for r in 0..R {
        let mut values = [0.0; LANES];
        l.store(sums[r], &mut values);
        // SAFETY: each tile is in one part of `split`, so one thread alone writes its columns.
        #[allow(unsafe_code)]
        unsafe {
            // a whole tile is one vector, not a call that copies
            if width == LANES {
                out.write(first + r, column, &values);
            } else {
                out.write(first + r, column, &values[..width]);
            }
        }
    }
}
