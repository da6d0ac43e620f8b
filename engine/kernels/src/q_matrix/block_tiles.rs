//! Quantized weights, repacked: 16 rows side by side.
//!
//! A *tile* is 16 rows; the last one is filled up with zero rows. Codes and scales lie tile by tile and,
//! inside a tile, in order of 32 columns. One line (64 bytes) holds, for each of the 16 rows, four
//! codes of neighbouring columns, which is what one `vpdpbusd` multiplies with four activations that all
//! rows share, so that the 16 sums stay in their lanes:
//!
//! ```text
//!              row 0             row 1        ...      row 15
//! byte      0   1   2   3     4   5   6   7         60  61  62  63
//! line g   c+0 c+1 c+2 c+3   c+0 c+1 c+2 c+3       c+0 c+1 c+2 c+3     c = 4 g
//! ```
//!
//! Kinds with a byte a code have 8 such lines for 32 columns. Kinds with a nibble a code have 4: the
//! low nibbles of line g are the columns from 4 g on, the high nibbles those from 4 g + 16 on.
//!
//! Beside them are, for each 32 columns, vectors of 16 numbers, one a row: scale (and low end) of the
//! columns, or of their first and then their last half. Kinds of 5 and 6 bits take a byte, kinds of 2
//! and 3 bits a nibble: simple, at the price of memory for kinds that are rare.

use half::f16;
use rayon::prelude::*;

use crate::ggml::{Columns32, unpack_row};
use crate::lanes::{Codes, LANES, Line};
use crate::weight_kind::WeightKind;

use super::format::{Format, ScaleNumber, Visitor, visit};
use super::packed::Packed;

pub(super) struct BlockTiles {
    pub(super) kind: WeightKind,
    pub(super) rows: usize,
    /// Groups of 32 columns.
    pub(super) blocks: usize,
    pub(super) lines: Packed<Line>,
    pub(super) scales: Scales,
}

pub(super) enum Scales {
    Halves(Packed<[f16; LANES]>),
    Singles(Packed<[f32; LANES]>),
}

impl Scales {
    #[inline(always)]
    pub(super) fn halves(&self) -> &[[f16; LANES]] {
        match self {
            Scales::Halves(scales) => scales,
            Scales::Singles(_) => unreachable!("the format says what its scales are"),
        }
    }

    #[inline(always)]
    pub(super) fn singles(&self) -> &[[f32; LANES]] {
        match self {
            Scales::Singles(scales) => scales,
            Scales::Halves(_) => unreachable!("the format says what its scales are"),
        }
    }
}

impl BlockTiles {
    /// `bytes` were checked against the shape.
    pub(super) fn pack(kind: WeightKind, rows: usize, columns: usize, bytes: &[u8]) -> BlockTiles {
        visit(kind, Pack { kind, rows, columns, bytes })
    }

    pub(super) fn tiles(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    pub(super) fn bytes(&self) -> usize {
        let scales = match &self.scales {
            Scales::Halves(scales) => size_of_val(&scales[..]),
            Scales::Singles(scales) => size_of_val(&scales[..]),
        };
        size_of_val(&self.lines[..]) + scales
    }

    /// Row `row` as floats.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        visit(self.kind, Row { tiles: self, row, out });
    }
}

/// Lines, and vectors of scales and lows, that `rows` of so many `blocks` take.
pub(super) fn counts<F: Format>(rows: usize, blocks: usize) -> (usize, usize) {
    let blocks = rows.div_ceil(LANES).saturating_mul(blocks);
    (blocks.saturating_mul(F::Codes::LINES), blocks.saturating_mul(F::VECTORS))
}

struct Pack<'a> {
    kind: WeightKind,
    rows: usize,
    columns: usize,
    bytes: &'a [u8],
}

impl Visitor for Pack<'_> {
    type Output = BlockTiles;

    fn visit<F: Format>(self) -> BlockTiles {
        let blocks = self.columns / 32;
        let (lines, vectors) = counts::<F>(self.rows, blocks);
        let mut lines = vec![Line([0; 64]); lines];
        let mut scales = vec![[F::Scale::from_f32(0.0); LANES]; vectors];
        let row_bytes = self.bytes.len() / self.rows;
        self.bytes
            .par_chunks(row_bytes * LANES)
            .zip(lines.par_chunks_mut(blocks * F::Codes::LINES))
            .zip(scales.par_chunks_mut(blocks * F::VECTORS))
            .for_each(|((bytes, lines), scales)| {
                pack_tile::<F>(self.kind, bytes, row_bytes, lines, scales);
            });
        let (lines, scales) = (lines.into(), F::Scale::wrap(scales.into()));
        BlockTiles { kind: self.kind, rows: self.rows, blocks, lines, scales }
    }
}

/// `bytes` are the rows of the tile, 16 of them but for the last tile.
fn pack_tile<F: Format>(
    kind: WeightKind,
    bytes: &[u8],
    row_bytes: usize,
    lines: &mut [Line],
    scales: &mut [[F::Scale; LANES]],
) {
    let blocks = scales.len() / F::VECTORS;
    let mut unpacked = vec![Columns32::default(); blocks];
    for (lane, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
        unpack_row(kind, bytes, &mut unpacked);
        for (block, columns) in unpacked.iter().enumerate() {
            pack_codes(columns, lane, &mut lines[block * F::Codes::LINES..][..F::Codes::LINES]);
            pack_scales::<F>(columns, lane, &mut scales[block * F::VECTORS..][..F::VECTORS]);
        }
    }
}

fn pack_codes(columns: &Columns32, lane: usize, lines: &mut [Line]) {
    for (column, code) in columns.codes.iter().enumerate() {
        let group = column / 4;
        let shift = if lines.len() == 4 { group / 4 * 4 } else { 0 };
        let count = lines.len();
        lines[group % count].0[4 * lane + column % 4] |= code << shift;
    }
}

fn pack_scales<F: Format>(columns: &Columns32, lane: usize, vectors: &mut [[F::Scale; LANES]]) {
    for sub in 0..F::SUBS {
        let at = sub * (F::VECTORS / F::SUBS);
        vectors[at][lane] = F::Scale::from_f32(columns.scale[sub]);
        if F::LOWS {
            vectors[at + 1][lane] = F::Scale::from_f32(columns.low[sub]);
        }
    }
}

struct Row<'a> {
    tiles: &'a BlockTiles,
    row: usize,
    out: &'a mut [f32],
}

impl Visitor for Row<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let (tiles, lane) = (self.tiles, self.row % LANES);
        let first = self.row / LANES * tiles.blocks;
        let scales = F::Scale::of(tiles);
        for (block, out) in self.out.chunks_exact_mut(32).enumerate() {
            let lines = &tiles.lines[(first + block) * F::Codes::LINES..][..F::Codes::LINES];
            let vectors = &scales[(first + block) * F::VECTORS..][..F::VECTORS];
            for (column, out) in out.iter_mut().enumerate() {
                let group = column / 4;
                let byte = lines[group % F::Codes::LINES].0[4 * lane + column % 4];
                let code = match F::Codes::LINES {
                    4 => (byte >> (group / 4 * 4)) & 15,
                    _ => byte,
                };
                let at = column / 16 * F::SUBS / 2 * (F::VECTORS / F::SUBS);
                let low = if F::LOWS { vectors[at + 1][lane].to_f32() } else { 0.0 };
                // the product is exact (11 and 6 bits of scale times 8 of code), so one rounding at most
                *out = vectors[at][lane].to_f32() * (i32::from(code) - F::ZERO) as f32 + low;
            }
        }
    }
}
