//! Root mean square normalization (arXiv 1910.07467).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::float::{load_part, sum_lanes};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::shared_rows::SharedRows;
use crate::storage::contiguous;
use crate::threads::split;

/// `x * weight / sqrt(mean(x^2) + eps)` of each row of `x` (M, D), with `weight` (D); (M, D).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op2_no_bwd(weight, &RmsNorm { path: Path::best(), eps })
}

struct RmsNorm {
    path: Path,
    eps: f32,
}

impl CustomOp2 for RmsNorm {
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
        let x = contiguous::<f32>(self.name(), x, x_layout)?;
        let weight = contiguous::<f32>(self.name(), weight, weight_layout)?;
        let mut out = vec![0.0; x.len()];
        let shared = SharedRows::new(&mut out, width);
        split(rows, width / 8 + 1, |range| {
            launch(self.path, Rows { x, weight, eps: self.eps, range, out: &shared });
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
        let out = crate::cuda::norm::forward(self.name(), x, weight, self.eps)?;
        Ok((out, x_layout.shape().clone()))
    }
}

impl RmsNorm {
    /// Rows and their width, checked.
    fn shape(&self, x: &Layout, weight: &Layout) -> Result<(usize, usize)> {
        let (rows, width) = x.shape().dims2()?;
        if weight.shape().dims1()? != width || width == 0 {
            bail!("{}: rows of {width}, weight of {:?}", self.name(), weight.shape())
        }
        Ok((rows, width))
    }
}

struct Rows<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    range: std::ops::Range<usize>,
    out: &'a SharedRows<'a>,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.weight.len();
        let mut normed = vec![0.0; width];
        for row in self.range {
            norm_row(l, &self.x[row * width..][..width], self.weight, self.eps, &mut normed);
            // SAFETY: each row is in one part of `split`.
            #[allow(unsafe_code)]
            unsafe {
                self.out.write(row, 0, &normed);
            }
        }
    }
}

/// Order: 16 sums of squares, of the elements with the same remainder by 16; then halves.
#[inline(always)]
fn norm_row<L: Lanes>(l: L, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut squares = l.splat(0.0);
    for chunk in chunks {
        let x = l.load(chunk);
        squares = l.fma(x, x, squares);
    }
    let last = load_part(l, rest, 0.0);
    squares = l.fma(last, last, squares);
    let mean = sum_lanes(l, squares) / x.len() as f32;
    let inverse = 1.0 / (mean + eps).sqrt();
    for ((x, weight), out) in x.iter().zip(weight).zip(out) {
        *out = x * inverse * weight;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, device, noise};

    fn norm(path: Path, x: &Tensor, weight: &Tensor) -> Tensor {
        x.apply_op2_no_bwd(weight, &RmsNorm { path, eps: 1e-5 }).unwrap()
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
