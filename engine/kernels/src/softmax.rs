//! Softmax of rows.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::float::{exp_lanes, load_part, max_lanes, sum_lanes};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// `e^(x - max) / sum` of each row of `x` (M, N); (M, N). A row of only `-inf` becomes NaN.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Softmax { path: Path::best() })
}

struct Softmax {
    path: Path,
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous::<f32>(self.name(), x, layout)?;
        let (_, width) = layout.shape().dims2()?;
        let mut out = x.to_vec();
        if width > 0 {
            split_rows(&mut out, width, width, |_, rows| {
                for row in rows.chunks_exact_mut(width) {
                    launch(self.path, Row { row });
                }
            });
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        crate::cuda::softmax::forward(self.name(), x, layout)
    }
}

struct Row<'a> {
    row: &'a mut [f32],
}

impl Kernel for Row<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (_, sum) = exponentials(l, self.row);
        for x in self.row {
            *x /= sum;
        }
    }
}

/// Replaces each `x` of the row with `e^(x - max)`; the largest value and the sum of the new values.
///
/// Order: 16 sums, of the elements with the same remainder by 16; then halves.
#[inline(always)]
pub(crate) fn exponentials<L: Lanes>(l: L, row: &mut [f32]) -> (f32, f32) {
    let mut largest = l.splat(f32::NEG_INFINITY);
    let (chunks, rest) = row.as_chunks::<LANES>();
    for x in chunks {
        largest = l.max(l.load(x), largest);
    }
    largest = l.max(load_part(l, rest, f32::NEG_INFINITY), largest);
    let largest = max_lanes(l, largest);
    let mut sums = l.splat(0.0);
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for x in chunks {
        let power = exp_lanes(l, l.sub(l.load(x), l.splat(largest)));
        l.store(power, x);
        sums = l.add(sums, power);
    }
    if !rest.is_empty() {
        let mut lanes = [0.0; LANES];
        let power = exp_lanes(l, l.sub(load_part(l, rest, f32::NEG_INFINITY), l.splat(largest)));
        l.store(power, &mut lanes);
        rest.copy_from_slice(&lanes[..rest.len()]);
        sums = l.add(sums, load_part(l, rest, 0.0));
    }
    (largest, sum_lanes(l, sums))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, device, noise};

    #[test]
    fn it_is_right_alone_in_a_batch_and_on_every_path() {
        let x = noise(&[5, 77], 1).affine(20.0, 3.0).unwrap();
        let all = softmax(&x).unwrap();
        for path in Path::available() {
            assert_eq!(bits(&x.apply_op1_no_bwd(&Softmax { path }).unwrap()), bits(&all));
        }
        let xs = x.to_vec2::<f32>().unwrap();
        for (i, row) in all.to_vec2::<f32>().unwrap().iter().enumerate() {
            let alone = softmax(&x.narrow(0, i, 1).unwrap()).unwrap();
            assert_eq!(bits(&alone), bits(&all.narrow(0, i, 1).unwrap()));
            let max = xs[i].iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = xs[i].iter().map(|x| f64::from(x - max).exp()).sum();
            for (y, x) in row.iter().zip(&xs[i]) {
                let exact = f64::from(x - max).exp() / sum;
                assert!((f64::from(*y) - exact).abs() < 1e-6 * exact + 1e-37);
            }
        }
    }

    #[test]
    fn a_row_of_nan_is_nan() {
        let x = Tensor::new(&[[f32::NAN; 3], [0.0; 3]], &device()).unwrap();
        let y = softmax(&x).unwrap().to_vec2::<f32>().unwrap();
        assert!(y[0].iter().all(|y| y.is_nan()));
        assert_eq!(y[1], [1.0 / 3.0; 3]);
    }
}
