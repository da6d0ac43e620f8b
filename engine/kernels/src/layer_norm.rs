//! Layer normalization (arXiv 1607.06450), as encoders have it: after what is added.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::float::{load_part, sum_lanes};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` of each row of `x` (M, D), with `weight` and `bias`
/// (D) and the variance of all D elements; (M, D). On the CPU.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op3_no_bwd(weight, bias, &LayerNorm { path: Path::best(), eps })
}

struct LayerNorm {
    path: Path,
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        for layout in [weight_layout, bias_layout] {
            if layout.shape().dims() != [width] || width == 0 {
                bail!("{}: rows of {width}, weights of {:?}", self.name(), layout.shape())
            }
        }
        let x = contiguous::<f32>(self.name(), x, x_layout)?;
        let weight = contiguous::<f32>(self.name(), weight, weight_layout)?;
        let bias = contiguous::<f32>(self.name(), bias, bias_layout)?;
        let mut out = vec![0.0; rows * width];
        split_rows(&mut out, width, width / 4 + 1, |range, out| {
            let x = &x[range.start * width..range.end * width];
            launch(self.path, Rows { x, weight, bias, eps: self.eps, out });
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

struct Rows<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            norm_row(l, x, self.weight, self.bias, self.eps, out);
        }
    }
}

/// Order: 16 sums, of the elements with the same remainder by 16; then halves. First of the elements, and
/// then of the squares of their distances from the mean.
#[inline(always)]
fn norm_row<L: Lanes>(l: L, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = l.splat(0.0);
    for chunk in chunks {
        sums = l.add(sums, l.load(chunk));
    }
    sums = l.add(sums, load_part(l, rest, 0.0));
    let count = x.len() as f32;
    let mean = sum_lanes(l, sums) / count;
    let mut squares = l.splat(0.0);
    for chunk in chunks {
        let distance = l.sub(l.load(chunk), l.splat(mean));
        squares = l.fma(distance, distance, squares);
    }
    // lanes without an element are at the mean
    let distance = l.sub(load_part(l, rest, mean), l.splat(mean));
    squares = l.fma(distance, distance, squares);
    let inverse = 1.0 / (sum_lanes(l, squares) / count + eps).sqrt();
    for ((x, out), (weight, bias)) in x.iter().zip(out).zip(weight.iter().zip(bias)) {
        *out = (x - mean) * inverse * weight + bias;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;
    use crate::storage::tests::bits;

    fn noise(shape: &[usize], seed: u64) -> Tensor {
        crate::storage::tests::noise(shape, seed).to_device(&Device::Cpu).unwrap()
    }

    #[test]
    fn it_is_right_alone_in_a_batch_and_on_every_path() {
        for width in [1, 15, 16, 384, 601] {
            let x = noise(&[23, width], 1);
            let (weight, bias) = (noise(&[width], 2), noise(&[width], 3));
            let norm = |path, x: &Tensor| {
                x.apply_op3_no_bwd(&weight, &bias, &LayerNorm { path, eps: 1e-5 }).unwrap()
            };
            let all = norm(Path::best(), &x);
            for path in Path::available() {
                assert_eq!(bits(&norm(path, &x)), bits(&all), "{path:?}");
            }
            let (ws, bs) = (weight.to_vec1::<f32>().unwrap(), bias.to_vec1::<f32>().unwrap());
            for (i, row) in x.to_vec2::<f32>().unwrap().iter().enumerate() {
                let alone = norm(Path::best(), &x.narrow(0, i, 1).unwrap());
                assert_eq!(bits(&alone), bits(&all.narrow(0, i, 1).unwrap()));
                let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
                let inverse = 1.0 / (squares / width as f64 + f64::from(1e-5f32)).sqrt();
                for (j, y) in alone.to_vec2::<f32>().unwrap()[0].iter().enumerate() {
                    let exact = (f64::from(row[j]) - mean) * inverse * f64::from(ws[j]);
                    let exact = exact + f64::from(bs[j]);
                    assert!((f64::from(*y) - exact).abs() < 2e-6 * (1.0 + exact.abs()), "{width}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (x, weight) = (noise(&[2, 32], 1), noise(&[16], 2));
        assert!(layer_norm(&x, &weight, &weight, 1e-5).is_err());
    }
}
