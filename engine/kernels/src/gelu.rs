//! The gate of a feed-forward layer with GELU (arXiv 2002.05202, arXiv 1606.08415).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::float::{exp_lanes, load_part};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;

/// `gate / 2 * (1 + tanh(sqrt(2 / pi) * (gate + 0.044715 gate^3))) * up`, element by element; both of
/// one shape. It is GELU's usual approximation, which is what models that say "tanh" are trained with.
pub fn gelu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2_no_bwd(up, &GeluMul { path: Path::best() })
}

struct GeluMul {
    path: Path,
}

/// Elements of a task: a few microseconds.
const TASK: usize = 16_384;

impl CustomOp2 for GeluMul {
    fn name(&self) -> &'static str {
        "gelu-mul"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if gate_layout.shape() != up_layout.shape() {
            bail!("{}: {:?} and {:?}", self.name(), gate_layout.shape(), up_layout.shape())
        }
        let gate = contiguous::<f32>(self.name(), gate, gate_layout)?;
        let up = contiguous::<f32>(self.name(), up, up_layout)?;
        let mut out = vec![0.0; gate.len()];
        if out.len() <= TASK {
            launch(self.path, Part { gate, up, out: &mut out });
        } else {
            gate.par_chunks(TASK)
                .zip(up.par_chunks(TASK))
                .zip(out.par_chunks_mut(TASK))
                .for_each(|((gate, up), out)| launch(self.path, Part { gate, up, out }));
        }
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        gate: &CudaStorage,
        gate_layout: &Layout,
        up: &CudaStorage,
        up_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        use crate::cuda::elements::{Gate, gated};
        gated(self.name(), Gate::Gelu, (gate, gate_layout), (up, up_layout))
    }
}

struct Part<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let chunks = self.gate.chunks(LANES).zip(self.up.chunks(LANES));
        for ((gate, up), out) in chunks.zip(self.out.chunks_mut(LANES)) {
            let (gate, up) = (load_part(l, gate, 0.0), load_part(l, up, 0.0));
            let mut lanes = [0.0; LANES];
            l.store(l.mul(gelu_lanes(l, gate), up), &mut lanes);
            out.copy_from_slice(&lanes[..out.len()]);
        }
    }
}

/// `x / (1 + e^-2u)` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`: `(1 + tanh u) / 2` is the same, without
/// what cancels where `u` is far below 0.
#[inline(always)]
fn gelu_lanes<L: Lanes>(l: L, x: L::F) -> L::F {
    // -2 sqrt(2 / pi), and 0.044715 times that
    let linear = l.splat(-1.595_769);
    let cubic = l.splat(-0.071_354_814);
    let twice = l.mul(x, l.fma(l.mul(x, x), cubic, linear));
    l.div(x, l.add(l.splat(1.0), exp_lanes(l, twice)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, device, noise};

    #[test]
    fn it_is_right_and_equal_on_every_path() {
        let gate = noise(&[33, 1001], 1).affine(8.0, 0.0).unwrap();
        let up = noise(&[33, 1001], 2);
        let all = gelu_mul(&gate, &up).unwrap();
        for path in Path::available() {
            let other = gate.apply_op2_no_bwd(&up, &GeluMul { path }).unwrap();
            assert_eq!(bits(&other), bits(&all), "{path:?}");
        }
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for ((y, gate), up) in flat(&all).iter().zip(flat(&gate)).zip(flat(&up)) {
            let gate = f64::from(gate);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044_715 * gate.powi(3));
            let exact = gate * 0.5 * (1.0 + inner.tanh()) * f64::from(up);
            assert!((f64::from(*y) - exact).abs() < 1e-6 * exact.abs() + 1e-7, "{y} {exact}");
        }
    }

    #[test]
    fn nothing_panics_and_nan_stays_nan() {
        let gate = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0];
        let gate = Tensor::new(&gate, &device()).unwrap();
        let y = gelu_mul(&gate, &gate.ones_like().unwrap()).unwrap().to_vec1::<f32>().unwrap();
        assert!(y[0].is_nan());
        assert_eq!([y[1], y[4], y[5]], [f32::INFINITY, 1e30, 0.0]);
        assert!(gelu_mul(&gate, &gate.narrow(0, 0, 2).unwrap()).is_err(), "another shape");
    }
}
