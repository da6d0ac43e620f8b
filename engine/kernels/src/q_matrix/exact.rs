//! The product with f32 activations and dequantized weights: slow, for comparisons with a reference.
//!
//! Order of one output: four sums, of the columns with the same remainder by four, each ascending with
//! one rounding a step; then `(s0 + s1) + (s2 + s3)`.

use std::marker::PhantomData;

use crate::lanes::{Codes, LANES, Lanes, Line};
use crate::path::{Kernel, Path, launch};
use crate::shared_rows::SharedRows;
use crate::threads::split;

use super::block_tiles::BlockTiles;
use super::format::{Format, ScaleNumber, Visitor, visit};
use super::integer::write;

/// `x` (rows, columns) times the transposed `tiles` into `out` (rows, outputs).
pub(super) fn product(
    path: Path,
    tiles: &BlockTiles,
    x: &[f32],
    rows: usize,
    out: &SharedRows<'_>,
) {
    visit(tiles.kind, Product { path, tiles, x, rows, out });
}

struct Product<'a> {
    path: Path,
    tiles: &'a BlockTiles,
    x: &'a [f32],
    rows: usize,
    out: &'a SharedRows<'a>,
}

impl Visitor for Product<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let Product { path, tiles, x, rows, out } = self;
        // about 15 products a nanosecond
        let cost = (tiles.blocks * 32 * LANES * rows / 15).max(1);
        split(tiles.tiles(), cost, |range| {
            launch(path, Part::<F> { tiles, x, rows, range, out, format: PhantomData });
        });
    }
}

struct Part<'a, F> {
    tiles: &'a BlockTiles,
    x: &'a [f32],
    rows: usize,
    range: std::ops::Range<usize>,
    out: &'a SharedRows<'a>,
    format: PhantomData<F>,
}

impl<F: Format> Kernel for Part<'_, F> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let columns = self.tiles.blocks * 32;
        let mut weights = vec![[0.0; LANES]; columns];
        for tile in self.range.clone() {
            dequantize::<L, F>(l, self.tiles, tile, &mut weights);
            let mut row = 0;
            while row < self.rows {
                row += match self.rows - row {
                    4.. => self.rows_of_tile::<L, 4>(l, tile, &weights, row),
                    _ => self.rows_of_tile::<L, 1>(l, tile, &weights, row),
                };
            }
        }
    }
}

impl<F: Format> Part<'_, F> {
    #[inline(always)]
    fn rows_of_tile<L: Lanes, const R: usize>(
        &self,
        l: L,
        tile: usize,
        weights: &[[f32; LANES]],
        first: usize,
    ) -> usize {
        let columns = weights.len();
        let x = std::array::from_fn(|r| &self.x[(first + r) * columns..][..columns]);
        let sums = float_dot::<L, R>(l, columns, |column| l.load(&weights[column]), x);
        write(l, self.out, first, tile, self.tiles.rows, sums);
        R
    }
}

/// The pinned order of float products: 16 outputs, `R` rows.
#[inline(always)]
pub(super) fn float_dot<L: Lanes, const R: usize>(
    l: L,
    columns: usize,
    weight: impl Fn(usize) -> L::F,
    x: [&[f32]; R],
) -> [L::F; R] {
    let mut sums = [[l.splat(0.0); 4]; R];
    for quad in 0..columns / 4 {
        for part in 0..4 {
            let w = weight(4 * quad + part);
            for r in 0..R {
                sums[r][part] = l.fma(w, l.splat(x[r][4 * quad + part]), sums[r][part]);
            }
        }
    }
    for column in columns / 4 * 4..columns {
        let w = weight(column);
        for r in 0..R {
            let part = column % 4;
            sums[r][part] = l.fma(w, l.splat(x[r][column]), sums[r][part]);
        }
    }
    let mut out = [l.splat(0.0); R];
    for r in 0..R {
        let [a, b, c, d] = sums[r];
        out[r] = l.add(l.add(a, b), l.add(c, d));
    }
    out
}

#[inline(always)]
fn dequantize<L: Lanes, F: Format>(
    l: L,
    tiles: &BlockTiles,
    tile: usize,
    out: &mut [[f32; LANES]],
) {
    let scales = F::Scale::of(tiles);
    for (block, out) in out.chunks_exact_mut(32).enumerate() {
        let at = tile * tiles.blocks + block;
        let lines = &tiles.lines[at * F::Codes::LINES..][..F::Codes::LINES];
        let vectors = &scales[at * F::VECTORS..][..F::VECTORS];
        for (column, out) in out.iter_mut().enumerate() {
            let at = column / 16 * F::SUBS / 2 * (F::VECTORS / F::SUBS);
            let scale = F::Scale::load(l, &vectors[at]);
            let code = l.sub(code::<L, F::Codes>(l, lines, column), l.splat(F::ZERO as f32));
            let weight = match F::LOWS {
                true => l.fma(scale, code, F::Scale::load(l, &vectors[at + 1])),
                false => l.mul(scale, code),
            };
            l.store(weight, out);
        }
    }
}

#[inline(always)]
fn code<L: Lanes, C: Codes>(l: L, lines: &[Line], column: usize) -> L::F {
    let (group, shift) = (column / 4, column as u32 % 4 * 8);
    match C::LINES {
        4 => l.field(&lines[group % 4], shift + group as u32 / 4 * 4, 15),
        _ => l.field(&lines[group], shift, 255),
    }
}
