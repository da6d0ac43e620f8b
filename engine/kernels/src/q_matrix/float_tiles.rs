//! Weights that are floats: 16 rows side by side, column by column, in the type of the file.

use half::{bf16, f16};

use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::shared_rows::SharedRows;
use crate::threads::split;
use crate::weight_kind::WeightKind;

use super::exact::float_dot;
use super::integer::write;
use super::packed::Packed;

/// Tile by tile, column by column, 16 weights: one of each row.
pub(super) struct FloatTiles {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) weights: Weights,
}

pub(super) enum Weights {
    F32(Packed<[f32; LANES]>),
    F16(Packed<[f16; LANES]>),
    BF16(Packed<[bf16; LANES]>),
}

impl FloatTiles {
    /// `None` if `kind` is quantized. `bytes` were checked against the shape.
    pub(super) fn pack(
        kind: WeightKind,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Option<FloatTiles> {
        let weights = match kind {
            WeightKind::F32 => Weights::F32(pack(columns, bytes, f32::from_le_bytes)),
            WeightKind::F16 => Weights::F16(pack(columns, bytes, f16::from_le_bytes)),
            WeightKind::BF16 => Weights::BF16(pack(columns, bytes, bf16::from_le_bytes)),
            _ => return None,
        };
        Some(FloatTiles { rows, columns, weights })
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.weights {
            Weights::F32(weights) => size_of_val(&weights[..]),
            Weights::F16(weights) => size_of_val(&weights[..]),
            Weights::BF16(weights) => size_of_val(&weights[..]),
        }
    }

    /// Row `row` as floats.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        let (first, lane) = (row / LANES * self.columns, row % LANES);
        for (column, out) in out.iter_mut().enumerate() {
            *out = match &self.weights {
                Weights::F32(weights) => weights[first + column][lane],
                Weights::F16(weights) => weights[first + column][lane].to_f32(),
                Weights::BF16(weights) => weights[first + column][lane].to_f32(),
            };
        }
    }

    /// `x` (rows, columns) times the transposed weights into `out` (rows, outputs).
    pub(super) fn product(&self, path: Path, x: &[f32], rows: usize, out: &SharedRows<'_>) {
        // about 15 products a nanosecond
        let cost = (self.columns * LANES * rows / 15).max(1);
        split(self.rows.div_ceil(LANES), cost, |range| {
            launch(path, Part { tiles: self, x, rows, range, out });
        });
    }
}

fn pack<T: Copy + Default, const BYTES: usize>(
    columns: usize,
    bytes: &[u8],
    read: impl Fn([u8; BYTES]) -> T,
) -> Packed<[T; LANES]> {
    let (numbers, _) = bytes.as_chunks::<BYTES>();
    let rows = numbers.len() / columns;
    let mut out = vec![[T::default(); LANES]; rows.div_ceil(LANES) * columns];
    for (row, numbers) in numbers.chunks_exact(columns).enumerate() {
        let tile = &mut out[row / LANES * columns..][..columns];
        for (number, out) in numbers.iter().zip(tile) {
            out[row % LANES] = read(*number);
        }
    }
    out.into()
}

struct Part<'a> {
    tiles: &'a FloatTiles,
    x: &'a [f32],
    rows: usize,
    range: std::ops::Range<usize>,
    out: &'a SharedRows<'a>,
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        match &self.tiles.weights {
            Weights::F32(weights) => self.multiply(l, weights, |w| l.load(w)),
            Weights::F16(weights) => self.multiply(l, weights, |w| l.load_f16(w)),
            Weights::BF16(weights) => self.multiply(l, weights, |w| l.load_bf16(w)),
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn multiply<L: Lanes, T>(
        &self,
        l: L,
        weights: &[[T; LANES]],
        load: impl Fn(&[T; LANES]) -> L::F + Copy,
    ) {
        for tile in self.range.clone() {
            let weights = &weights[tile * self.tiles.columns..][..self.tiles.columns];
            let mut row = 0;
            while row < self.rows {
                row += match self.rows - row {
                    4.. => self.rows_of_tile::<L, T, 4>(l, tile, weights, load, row),
                    _ => self.rows_of_tile::<L, T, 1>(l, tile, weights, load, row),
                };
            }
        }
    }

    #[inline(always)]
    fn rows_of_tile<L: Lanes, T, const R: usize>(
        &self,
        l: L,
        tile: usize,
        weights: &[[T; LANES]],
        load: impl Fn(&[T; LANES]) -> L::F,
        first: usize,
    ) -> usize {
        let columns = self.tiles.columns;
        let x = std::array::from_fn(|r| &self.x[(first + r) * columns..][..columns]);
        let sums = float_dot::<L, R>(l, columns, |column| load(&weights[column]), x);
        write(l, self.out, first, tile, self.tiles.rows, sums);
        R
    }
}
