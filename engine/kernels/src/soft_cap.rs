//! Logits and scores that never leave a range (arXiv 2408.00118).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::float::{load_part, tanh_lanes};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// `cap * tanh(x / cap)`, element by element; `cap` is positive.
pub fn soft_cap(x: &Tensor, cap: f32) -> Result<Tensor> {
    if !is_cap(cap) {
        bail!("soft-cap: a cap of {cap}")
    }
    x.apply_op1_no_bwd(&SoftCap { path: Path::best(), cap })
}

/// Whether a cap is one.
pub(crate) fn is_cap(cap: f32) -> bool {
    cap.is_normal() && cap > 0.0
}

/// The same in place, on one thread.
#[inline(always)]
pub(crate) fn cap_all<L: Lanes>(l: L, x: &mut [f32], cap: f32) {
    let cap = l.splat(cap);
    for x in x.chunks_mut(LANES) {
        let mut lanes = [0.0; LANES];
        let capped = tanh_lanes(l, l.div(load_part(l, x, 0.0), cap));
        l.store(l.mul(capped, cap), &mut lanes);
        x.copy_from_slice(&lanes[..x.len()]);
    }
}

struct SoftCap {
    path: Path,
    cap: f32,
}

impl CustomOp1 for SoftCap {
    fn name(&self) -> &'static str {
        "soft-cap"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = contiguous::<f32>(self.name(), x, layout)?.to_vec();
        split_rows(&mut out, LANES, LANES, |_, x| launch(self.path, Part { x, cap: self.cap }));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        crate::cuda::elements::soft_cap(self.name(), (x, layout), self.cap)
    }
}

struct Part<'a> {
    x: &'a mut [f32],
    cap: f32,
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        cap_all(l, self.x, self.cap);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, noise};

    #[test]
    fn it_is_right_and_equal_on_every_path() {
        let x = noise(&[3, 7001], 1).affine(100.0, 0.0).unwrap();
        let all = soft_cap(&x, 30.0).unwrap();
        for path in Path::available() {
            let other = x.apply_op1_no_bwd(&SoftCap { path, cap: 30.0 }).unwrap();
            assert_eq!(bits(&other), bits(&all), "{path:?}");
        }
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (y, x) in flat(&all).iter().zip(flat(&x)) {
            let exact = (f64::from(x) / 30.0).tanh() * 30.0;
            assert!((f64::from(*y) - exact).abs() < 1e-5, "{y} {exact}");
        }
        for cap in [0.0, -3.0, f32::NAN, f32::INFINITY] {
            assert!(soft_cap(&x, cap).is_err(), "a cap of {cap}");
        }
    }
}
