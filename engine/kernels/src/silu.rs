//! The gate of a feed-forward layer (arXiv 2002.05202).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::float::{exp_lanes, load_part};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;

/// `gate / (1 + e^-gate) * up`, element by element; both of one shape.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2_no_bwd(up, &SiluMul { path: Path::best() })
}

struct SiluMul {
    path: Path,
}

/// Elements of a task: a few microseconds.
const TASK: usize = 16_384;

impl CustomOp2 for SiluMul {
    fn name(&self) -> &'static str {
        "silu-mul"
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
        gated(self.name(), Gate::Silu, (gate, gate_layout), (up, up_layout))
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
            let negative = l.sub(l.splat(0.0), gate);
            let below = l.add(l.splat(1.0), exp_lanes(l, negative));
            let mut lanes = [0.0; LANES];
            l.store(l.mul(l.div(gate, below), up), &mut lanes);
            out.copy_from_slice(&lanes[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, device, noise};

    #[test]
    fn it_is_right_and_equal_on_every_path() {
        let gate = noise(&[33, 1001], 1).affine(30.0, 0.0).unwrap();
        let up = noise(&[33, 1001], 2);
        let all = silu_mul(&gate, &up).unwrap();
        for path in Path::available() {
            let other = gate.apply_op2_no_bwd(&up, &SiluMul { path }).unwrap();
            assert_eq!(bits(&other), bits(&all), "{path:?}");
        }
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for ((y, gate), up) in flat(&all).iter().zip(flat(&gate)).zip(flat(&up)) {
            let gate = f64::from(gate);
            let exact = gate / (1.0 + (-gate).exp()) * f64::from(up);
            assert!((f64::from(*y) - exact).abs() < 4e-7 * exact.abs() + 1e-30, "{y} {exact}");
        }
    }

    #[test]
    fn nothing_panics_and_nan_stays_nan() {
        let gate = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30];
        let gate = Tensor::new(&gate, &device()).unwrap();
        let y = silu_mul(&gate, &gate.ones_like().unwrap()).unwrap().to_vec1::<f32>().unwrap();
        assert!(y[0].is_nan());
        assert_eq!(y[1], f32::INFINITY);
        assert_eq!(y[4], 1e30);
    }
}
