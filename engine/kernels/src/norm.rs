//! Root mean square normalization (arXiv 1910.07467).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::float::{load_part, sum_lanes};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// What rows are normalized by.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// One for each column.
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
}

/// `x * weight / sqrt(mean(x^2) + eps)` of each row of `x` (M, D), with `weight` (D); (M, D).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op2_no_bwd(weight, &RmsNormOp { path: Path::best(), eps })
}

/// A norm of the rows of some matrix.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm<'a> {
    /// (D)
    pub weight: &'a Tensor,
    /// What is added to the mean of the squares.
    pub eps: f32,
}

/// `to` (M, D) with the normalized rows of `x` (M, D) added to it.
pub fn rms_norm_onto(x: &Tensor, norm: RmsNorm<'_>, to: &Tensor) -> Result<Tensor> {
    let RmsNorm { weight, eps } = norm;
    if x.device().is_cpu() {
        x.apply_op3_no_bwd(weight, to, &RmsNormOp { path: Path::best(), eps })
    } else {
        to + rms_norm(x, weight, eps)?
    }
}

struct RmsNormOp {
    path: Path,
    eps: f32,
}

impl CustomOp2 for RmsNormOp {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = self.shape(x_layout, weight_layout)?;
        let name = CustomOp2::name(self);
        let x = contiguous::<f32>(name, x, x_layout)?;
        let weight = contiguous::<f32>(name, weight, weight_layout)?;
        let norm = Norm { weight, eps: self.eps };
        let mut out = vec![0.0; rows * width];
        split_rows(&mut out, width, width / 8 + 1, |range, out| {
            launch(self.path, Rows { x: &x[range.start * width..range.end * width], norm, out });
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.shape(x_layout, weight_layout)?;
        let (x, weight) = ((x, x_layout), (weight, weight_layout));
        let out = crate::cuda::norm::forward(CustomOp2::name(self), x, weight, self.eps)?;
        Ok((out, x_layout.shape().clone()))
    }
}

impl CustomOp3 for RmsNormOp {
    fn name(&self) -> &'static str {
        "rms-norm-onto"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        to: &CpuStorage,
        to_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let name = CustomOp3::name(self);
        let (_, width) = self.shape(x_layout, weight_layout)?;
        if to_layout.shape() != x_layout.shape() {
            bail!("{name}: {:?} onto {:?}", x_layout.shape(), to_layout.shape())
        }
        let x = contiguous::<f32>(name, x, x_layout)?;
        let weight = contiguous::<f32>(name, weight, weight_layout)?;
        let mut out = contiguous::<f32>(name, to, to_layout)?.to_vec();
        let norm = Norm { weight, eps: self.eps };
        split_rows(&mut out, width, width / 8 + 1, |range, out| {
            let x = &x[range.start * width..range.end * width];
            launch(self.path, RowsOnto { x, norm, out });
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

impl RmsNormOp {
    /// Rows and their width, checked.
    fn shape(&self, x: &Layout, weight: &Layout) -> Result<(usize, usize)> {
        let (rows, width) = x.shape().dims2()?;
        if weight.shape().dims1()? != width || width == 0 {
            bail!("rms-norm: rows of {width}, weight of {:?}", weight.shape())
        }
        Ok((rows, width))
    }
}

struct Rows<'a> {
    x: &'a [f32],
    norm: Norm<'a>,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.norm.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            norm_row(l, x, &self.norm, out);
        }
    }
}

struct RowsOnto<'a> {
    x: &'a [f32],
    norm: Norm<'a>,
    out: &'a mut [f32],
}

impl Kernel for RowsOnto<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.norm.weight.len();
        let mut normed = vec![0.0; width];
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            norm_row(l, x, &self.norm, &mut normed);
            for (out, normed) in out.iter_mut().zip(&normed) {
                *out += normed;
            }
        }
    }
}

/// Order: 16 sums of squares, of the elements with the same remainder by 16; then halves.
#[inline(always)]
pub(crate) fn norm_row<L: Lanes>(l: L, x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut squares = l.splat(0.0);
    for chunk in chunks {
        let x = l.load(chunk);
        squares = l.fma(x, x, squares);
    }
    let last = load_part(l, rest, 0.0);
    squares = l.fma(last, last, squares);
    let mean = sum_lanes(l, squares) / x.len() as f32;
    let inverse = 1.0 / (mean + norm.eps).sqrt();
    for ((x, weight), out) in x.iter().zip(norm.weight).zip(out) {
        *out = x * inverse * weight;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, device, noise};

    fn norm(path: Path, x: &Tensor, weight: &Tensor) -> Tensor {
        x.apply_op2_no_bwd(weight, &RmsNormOp { path, eps: 1e-5 }).unwrap()
    }

    #[test]
    fn it_is_right_alone_in_a_batch_and_on_every_path() {
        for width in [1, 15, 16, 64, 576, 601] {
            let (x, weight) = (noise(&[37, width], 1), noise(&[width], 2));
            let all = norm(Path::best(), &x, &weight);
            for path in Path::available() {
                assert_eq!(bits(&norm(path, &x, &weight)), bits(&all), "{path:?}");
            }
            let (xs, ws) = (x.to_vec2::<f32>().unwrap(), weight.to_vec1::<f32>().unwrap());
            for (i, row) in xs.iter().enumerate() {
                let alone = norm(Path::best(), &x.narrow(0, i, 1).unwrap(), &weight);
                assert_eq!(bits(&alone), bits(&all.narrow(0, i, 1).unwrap()));
                let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
                let all = alone.to_vec2::<f32>().unwrap();
                for (j, y) in all[0].iter().enumerate() {
                    let exact =
                        f64::from(row[j]) * f64::from(ws[j]) / (mean + f64::from(1e-5f32)).sqrt();
                    assert!((f64::from(*y) - exact).abs() < 1e-6 * (1.0 + exact.abs()));
                }
            }
        }
    }

    #[test]
    fn nan_stays_in_its_row() {
        let mut values = vec![1.0f32; 64];
        values[3] = f32::NAN;
        let x = Tensor::from_vec(values, (2, 32), &device()).unwrap();
        let y = rms_norm(&x, &noise(&[32], 3), 1e-5).unwrap().to_vec2::<f32>().unwrap();
        assert!(y[0].iter().all(|y| y.is_nan()) && y[1].iter().all(|y| y.is_finite()));
    }
}
