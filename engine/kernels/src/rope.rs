//! Rotary position embedding (arXiv 2104.09864).

mod scaling;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::float::{exp_f64, ln_f64, sin_cos};
use crate::lanes::Lanes;
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;
pub use scaling::RopeScaling;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopeStyle {
    /// Neighbours: (0, 1), (2, 3)...; what GGUF files of `llama` expect ("norm").
    Interleaved,
    /// An element of the first half with one of the second: (0, d/2), (1, d/2 + 1)... ("NeoX").
    Halves,
}

/// The largest angle that sines are exact for.
const ANGLE_MAX: f64 = 1_048_576.0;

/// Cosines and sines of every position and pair, made once a model.
pub struct RopeTable {
    style: RopeStyle,
    /// Pairs of a head that are rotated; elements from `2 * pairs` on stay.
    pairs: usize,
    positions: usize,
    /// Position by position: `pairs` cosines, then `pairs` sines.
    turns: Vec<f32>,
    #[cfg(feature = "cuda")]
    on_gpu: crate::cuda::rope::Turns,
}

impl RopeTable {
    /// For the first `width` elements of each head (even), `positions` positions and frequencies
    /// `base^(-2 i / width)`, scaled. Takes `4 * width * positions` bytes.
    pub fn new(
        style: RopeStyle,
        width: usize,
        base: f32,
        scaling: &RopeScaling,
        positions: usize,
    ) -> Result<RopeTable> {
        let pairs = width / 2;
        if width == 0 || !width.is_multiple_of(2) || !scaling.is_sound(pairs) {
            bail!("rope of {width} elements with {scaling:?}")
        }
        if !base.is_normal() || base <= 1.0 || positions > 1 << 20 {
            bail!("rope with base {base} for {positions} positions")
        }
        let ln_base = ln_f64(f64::from(base));
        let mut frequencies: Vec<f64> =
            (0..pairs).map(|i| exp_f64(-(2.0 * i as f64 / width as f64) * ln_base)).collect();
        scaling.apply(&mut frequencies, ln_base);
        if frequencies.iter().any(|frequency| frequency * positions as f64 > ANGLE_MAX) {
            bail!("rope of {positions} positions with {scaling:?}: angles beyond reason")
        }
        let factor = scaling.attention_factor();
        let mut turns = vec![0.0; positions * width];
        for (position, turns) in turns.chunks_exact_mut(width).enumerate() {
            let (cosines, sines) = turns.split_at_mut(pairs);
            for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&frequencies) {
                let (s, c) = sin_cos(position as f64 * frequency);
                (*cosine, *sine) = ((c * factor) as f32, (s * factor) as f32);
            }
        }
        Ok(RopeTable {
            style,
            pairs,
            positions,
            turns,
            #[cfg(feature = "cuda")]
            on_gpu: crate::cuda::rope::Turns::default(),
        })
    }

    /// Position by position: a cosine for each pair, then a sine for each.
    #[cfg(test)]
    pub(crate) fn turns(&self) -> &[f32] {
        &self.turns
    }

    /// How many positions the table has.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Checks that so many rows with heads so wide can be turned by `positions`.
    pub(crate) fn check(&self, rows: usize, head_width: usize, positions: &[u32]) -> Result<()> {
        if rows != positions.len() || head_width < 2 * self.pairs {
            bail!("rope: {rows} rows of heads of {head_width} with {} positions", positions.len())
        }
        if let Some(position) = positions.iter().find(|p| **p as usize >= self.positions) {
            bail!("rope: position {position} of {}", self.positions)
        }
        Ok(())
    }
}

/// Rotates each head of `x` (M, heads, head width) by its row's absolute position; same shape.
pub fn rope(x: &Tensor, positions: &[u32], table: &RopeTable) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Rope { path: Path::best(), positions, table })
}

struct Rope<'a> {
    path: Path,
    positions: &'a [u32],
    table: &'a RopeTable,
}

impl CustomOp1 for Rope<'_> {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, heads, head_width) = self.shape(layout)?;
        let x = contiguous::<f32>(self.name(), x, layout)?;
        let mut out = vec![0.0; x.len()];
        if heads * head_width > 0 {
            let width = heads * head_width;
            out.copy_from_slice(x);
            split_rows(&mut out, width, width / 4 + 1, |range, rows| {
                launch(self.path, Rows { op: self, head_width, width, first: range.start, rows });
            });
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.shape(layout)?;
        let RopeTable { style, pairs, turns, on_gpu, .. } = self.table;
        let halves = *style == RopeStyle::Halves;
        let table = crate::cuda::rope::Table { pairs: *pairs, halves, turns, there: on_gpu };
        let out = crate::cuda::rope::forward(self.name(), (x, layout), self.positions, &table)?;
        Ok((out, layout.shape().clone()))
    }
}

impl Rope<'_> {
    /// Rows, heads and their width, once the positions are checked.
    fn shape(&self, x: &Layout) -> Result<(usize, usize, usize)> {
        let (rows, heads, head_width) = x.shape().dims3()?;
        self.table.check(rows, head_width, self.positions)?;
        Ok((rows, heads, head_width))
    }
}

struct Rows<'a> {
    op: &'a Rope<'a>,
    head_width: usize,
    width: usize,
    /// The number of the first of the rows.
    first: usize,
    rows: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let positions = &self.op.positions[self.first..];
        for (row, position) in self.rows.chunks_exact_mut(self.width).zip(positions) {
            turn_row(row, self.head_width, *position, self.op.table);
        }
    }
}

/// Rotates each head of a row at `position`.
#[inline(always)]
pub(crate) fn turn_row(row: &mut [f32], head_width: usize, position: u32, table: &RopeTable) {
    let RopeTable { style, pairs, turns, .. } = table;
    let at = position as usize * 2 * pairs;
    let (cosines, sines) = turns[at..][..2 * pairs].split_at(*pairs);
    for head in row.chunks_exact_mut(head_width) {
        match style {
            RopeStyle::Interleaved => {
                let (neighbours, _) = head.as_chunks_mut::<2>();
                for ((pair, c), s) in neighbours.iter_mut().zip(cosines).zip(sines) {
                    *pair = turn(pair[0], pair[1], *c, *s);
                }
            }
            RopeStyle::Halves => {
                let (first, second) = head.split_at_mut(*pairs);
                let pairs = first.iter_mut().zip(second);
                for (((a, b), c), s) in pairs.zip(cosines).zip(sines) {
                    [*a, *b] = turn(*a, *b, *c, *s);
                }
            }
        }
    }
}

#[inline(always)]
fn turn(a: f32, b: f32, cosine: f32, sine: f32) -> [f32; 2] {
    [a * cosine - b * sine, a * sine + b * cosine]
}
