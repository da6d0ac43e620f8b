//! Rotary position embedding (arXiv 2104.09864).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::float::{exp_f64, ln_f64, sin_cos};
use crate::lanes::Lanes;
use crate::path::{Kernel, Path, launch};
use crate::shared_rows::SharedRows;
use crate::storage::contiguous;
use crate::threads::split;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopeStyle {
    /// Neighbours: (0, 1), (2, 3)...; what GGUF files of `llama` expect ("norm").
    Interleaved,
    /// An element of the first half with one of the second: (0, d/2), (1, d/2 + 1)... ("NeoX").
    Halves,
}

/// Cosines and sines of every position and pair, made once a model.
pub struct RopeTable {
    style: RopeStyle,
    /// Pairs of a head that are rotated; elements from `2 * pairs` on stay.
    pairs: usize,
    positions: usize,
    /// Position by position: `pairs` cosines, then `pairs` sines.
    turns: Vec<f32>,
}

impl RopeTable {
    /// For the first `width` elements of each head (even), `positions` positions and frequencies
    /// `base^(-2 i / width)`, each divided by its entry of `factors` (the tensor `rope_freqs.weight` of
    /// GGUF files) if there is one. Takes `4 * width * positions` bytes.
    pub fn new(
        style: RopeStyle,
        width: usize,
        base: f32,
        factors: Option<&[f32]>,
        positions: usize,
    ) -> Result<RopeTable> {
        let pairs = width / 2;
        if width == 0 || !width.is_multiple_of(2) || factors.is_some_and(|f| f.len() != pairs) {
            bail!("rope of {width} elements with {:?} factors", factors.map(<[f32]>::len))
        }
        if !base.is_normal() || base <= 0.0 || positions > 1 << 20 {
            bail!("rope with base {base} for {positions} positions")
        }
        let ln_base = ln_f64(f64::from(base));
        let frequencies: Vec<f64> = (0..pairs)
            .map(|i| {
                let factor = factors.map_or(1.0, |factors| f64::from(factors[i]));
                exp_f64(-(2.0 * i as f64 / width as f64) * ln_base) / factor
            })
            .collect();
        let mut turns = vec![0.0; positions * width];
        for (position, turns) in turns.chunks_exact_mut(width).enumerate() {
            let (cosines, sines) = turns.split_at_mut(pairs);
            for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&frequencies) {
                let (s, c) = sin_cos(position as f64 * frequency);
                (*cosine, *sine) = (c as f32, s as f32);
            }
        }
        Ok(RopeTable { style, pairs, positions, turns })
    }

    /// How many positions the table has.
    pub fn positions(&self) -> usize {
        self.positions
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
        let x = contiguous::<f32>(self.name(), x, layout)?;
        let (rows, heads, head_width) = layout.shape().dims3()?;
        if rows != self.positions.len() || head_width < 2 * self.table.pairs {
            bail!("{}: {:?} with {} positions", self.name(), layout.shape(), self.positions.len())
        }
        if let Some(position) = self.positions.iter().find(|p| **p as usize >= self.table.positions)
        {
            bail!("{}: position {position} of {}", self.name(), self.table.positions)
        }
        let mut out = vec![0.0; x.len()];
        if heads * head_width > 0 {
            let shared = SharedRows::new(&mut out, heads * head_width);
            split(rows, heads * head_width / 4 + 1, |range| {
                launch(self.path, Rows { op: self, x, head_width, range, out: &shared });
            });
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

struct Rows<'a> {
    op: &'a Rope<'a>,
    x: &'a [f32],
    head_width: usize,
    range: std::ops::Range<usize>,
    out: &'a SharedRows<'a>,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let RopeTable { style, pairs, turns, .. } = self.op.table;
        let width = self.out.width();
        let mut turned = vec![0.0; width];
        for row in self.range {
            turned.copy_from_slice(&self.x[row * width..][..width]);
            let at = self.op.positions[row] as usize * 2 * pairs;
            let (cosines, sines) = turns[at..][..2 * pairs].split_at(*pairs);
            for head in turned.chunks_exact_mut(self.head_width) {
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
            // SAFETY: each row is in one part of `split`.
            #[allow(unsafe_code)]
            unsafe {
                self.out.write(row, 0, &turned);
            }
        }
    }
}

#[inline(always)]
fn turn(a: f32, b: f32, cosine: f32, sine: f32) -> [f32; 2] {
    [a * cosine - b * sine, a * sine + b * cosine]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, noise};

    fn check(style: RopeStyle, factors: Option<&[f32]>) {
        let (heads, head_width, width) = (3, 20, 16);
        let table = RopeTable::new(style, width, 10_000.0, factors, 9000).unwrap();
        let positions = [0, 1, 8191, 7, 4096];
        let x = noise(&[positions.len(), heads, head_width], 1);
        let all = rope(&x, &positions, &table).unwrap();
        for path in Path::available() {
            let other =
                x.apply_op1_no_bwd(&Rope { path, positions: &positions, table: &table }).unwrap();
            assert_eq!(bits(&other), bits(&all), "{path:?}");
        }
        let (xs, ys) = (x.to_vec3::<f32>().unwrap(), all.to_vec3::<f32>().unwrap());
        for (row, position) in positions.iter().enumerate() {
            for head in 0..heads {
                let (x, y) = (&xs[row][head], &ys[row][head]);
                for i in 0..width / 2 {
                    let (a, b) = match style {
                        RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                        RopeStyle::Halves => (i, i + width / 2),
                    };
                    let factor = factors.map_or(1.0, |f| f64::from(f[i]));
                    let angle = f64::from(*position)
                        * 10_000f64.powf(-2.0 * i as f64 / width as f64)
                        / factor;
                    let (p, q) = (f64::from(x[a]), f64::from(x[b]));
                    let exact =
                        [p * angle.cos() - q * angle.sin(), p * angle.sin() + q * angle.cos()];
                    assert!((f64::from(y[a]) - exact[0]).abs() < 1e-6);
                    assert!((f64::from(y[b]) - exact[1]).abs() < 1e-6);
                }
                assert_eq!(x[width..], y[width..]);
            }
        }
    }

    #[test]
    fn both_styles_turn_by_position() {
        check(RopeStyle::Interleaved, None);
        check(RopeStyle::Halves, None);
        check(RopeStyle::Halves, Some(&[1.0, 1.5, 2.0, 2.5, 4.0, 8.0, 8.0, 8.0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(RopeTable::new(RopeStyle::Halves, 7, 1e4, None, 8).is_err());
        assert!(RopeTable::new(RopeStyle::Halves, 8, 0.0, None, 8).is_err());
        assert!(RopeTable::new(RopeStyle::Halves, 8, 1e4, Some(&[1.0]), 8).is_err());
        let table = RopeTable::new(RopeStyle::Halves, 8, 1e4, None, 8).unwrap();
        let x = noise(&[1, 1, 8], 1);
        assert!(rope(&x, &[8], &table).is_err());
        assert!(rope(&x, &[1, 2], &table).is_err());
    }
}
