//! GELU (arXiv 1606.08415) by the error function, as BERT has it.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::float::{exp_lanes, load_part};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// `x / 2 * (1 + erf(x / sqrt(2)))` of each element, within 4e-7 (absolute) up to 10. On the CPU.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Gelu { path: Path::best() })
}

struct Gelu {
    path: Path,
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous::<f32>(self.name(), x, layout)?;
        let mut out = vec![0.0; x.len()];
        let all = out.len();
        split_rows(&mut out, LANES, LANES, |range, out| {
            let x = &x[range.start * LANES..all.min(range.end * LANES)];
            launch(self.path, Part { x, out });
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

struct Part<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (xs, x) = self.x.as_chunks();
        let (outs, out) = self.out.as_chunks_mut();
        for (x, out) in xs.iter().zip(outs) {
            l.store(gelu_lanes(l, l.load(x)), out);
        }
        let mut lanes = [0.0; LANES];
        l.store(gelu_lanes(l, load_part(l, x, 0.0)), &mut lanes);
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

/// `max(x, 0) - |x| q(|x|)`, where `q` is the upper tail of the normal distribution: half of `1 - erf`, by
/// Abramowitz and Stegun's 7.1.26. Nothing cancels where `x` is far below 0.
#[inline(always)]
fn gelu_lanes<L: Lanes>(l: L, x: L::F) -> L::F {
    let size = l.max(x, l.sub(l.splat(0.0), x));
    // beyond it the tail is 0 and infinity would make it NaN; the second operand survives where it is NaN
    let size = l.min(l.splat(30.0), size);
    // 0.3275911 / sqrt(2)
    let t = l.div(l.splat(1.0), l.fma(size, l.splat(0.231_641_89), l.splat(1.0)));
    // halves of the published ones
    let mut tail = l.splat(0.530_702_7);
    for factor in [-0.726_576, 0.710_706_9, -0.142_248_37, 0.127_414_8] {
        tail = l.fma(tail, t, l.splat(factor));
    }
    let power = exp_lanes(l, l.mul(l.mul(size, size), l.splat(-0.5)));
    let tail = l.mul(l.mul(tail, t), power);
    l.sub(l.max(x, l.splat(0.0)), l.mul(size, tail))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;
    use crate::storage::tests::bits;

    /// The integral of the normal density from 0 to `x`, by Simpson's rule.
    fn exact(x: f64) -> f64 {
        let (steps, width) = (2000, x / 2000.0);
        let density = |i: usize| (-(i as f64 * width).powi(2) / 2.0).exp();
        let weight = |i| if i == 0 || i == steps { 1.0 } else { [2.0, 4.0][i % 2] };
        let sum: f64 = (0..=steps).map(|i| weight(i) * density(i)).sum();
        x * (0.5 + sum * width / 3.0 / (2.0 * std::f64::consts::PI).sqrt())
    }

    #[test]
    fn it_is_right_and_equal_on_every_path() {
        let values: Vec<f32> = (-1003..1000).map(|i| i as f32 / 100.0).collect();
        let x = Tensor::new(values.as_slice(), &Device::Cpu).unwrap();
        let all = gelu(&x).unwrap();
        for path in Path::available() {
            assert_eq!(bits(&x.apply_op1_no_bwd(&Gelu { path }).unwrap()), bits(&all), "{path:?}");
        }
        for (y, x) in all.to_vec1::<f32>().unwrap().into_iter().zip(values) {
            let error = (f64::from(y) - exact(f64::from(x))).abs();
            assert!(error < 4e-7 + 1e-7 * f64::from(x.abs()), "{x}: {error}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0];
        let y = gelu(&Tensor::new(&x, &Device::Cpu).unwrap()).unwrap().to_vec1::<f32>().unwrap();
        assert!(y[0].is_nan());
        assert_eq!(y[1..], [f32::INFINITY, 0.0, 0.0, 1e30, 0.0]);
    }
}
