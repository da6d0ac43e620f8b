//! The gate of a feed-forward layer (arXiv 2002.05202).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::float::{exp_lanes, load_part};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// Which function bends the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`: GELU's usual approximation (arXiv
    /// 1606.08415), which is what models that say "tanh" are trained with.
    Gelu,
}

/// `function(gate) * up`, element by element; both of one shape.
pub fn gated(gate: &Tensor, up: &Tensor, function: Gate) -> Result<Tensor> {
    gate.apply_op2_no_bwd(up, &Gated { path: Path::best(), function })
}

/// The same of 16 lanes.
#[inline(always)]
pub(crate) fn gated_lanes<L: Lanes>(l: L, gate: L::F, up: L::F, function: Gate) -> L::F {
    let bent = match function {
        Gate::Silu => {
            let negative = l.sub(l.splat(0.0), gate);
            l.div(gate, l.add(l.splat(1.0), exp_lanes(l, negative)))
        }
        Gate::Gelu => gelu_lanes(l, gate),
    };
    l.mul(bent, up)
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

struct Gated {
    path: Path,
    function: Gate,
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
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
        let all = out.len();
        split_rows(&mut out, LANES, LANES, |range, out| {
            let mine = range.start * LANES..all.min(range.end * LANES);
            let (gate, up) = (&gate[mine.clone()], &up[mine]);
            launch(self.path, Part { gate, up, function: self.function, out });
        });
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
        use crate::cuda::elements::gated;
        gated(self.name(), self.function, (gate, gate_layout), (up, up_layout))
    }
}

struct Part<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    function: Gate,
    out: &'a mut [f32],
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let ((gates, gate), (ups, up)) = (self.gate.as_chunks(), self.up.as_chunks());
        let (outs, out) = self.out.as_chunks_mut();
        for ((gate, up), out) in gates.iter().zip(ups).zip(outs) {
            l.store(gated_lanes(l, l.load(gate), l.load(up), self.function), out);
        }
        let (gate, up) = (load_part(l, gate, 0.0), load_part(l, up, 0.0));
        let mut lanes = [0.0; LANES];
        l.store(gated_lanes(l, gate, up, self.function), &mut lanes);
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{bits, device, noise};

    fn exact(function: Gate, gate: f64) -> f64 {
        match function {
            Gate::Silu => gate / (1.0 + (-gate).exp()),
            Gate::Gelu => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044_715 * gate.powi(3));
                gate * 0.5 * (1.0 + inner.tanh())
            }
        }
    }

    #[test]
    fn it_is_right_and_equal_on_every_path() {
        let gate = noise(&[33, 1001], 1).affine(8.0, 0.0).unwrap();
        let up = noise(&[33, 1001], 2);
        for function in [Gate::Silu, Gate::Gelu] {
            let all = gated(&gate, &up, function).unwrap();
            for path in Path::available() {
                let other = gate.apply_op2_no_bwd(&up, &Gated { path, function }).unwrap();
                assert_eq!(bits(&other), bits(&all), "{function:?} {path:?}");
            }
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for ((y, gate), up) in flat(&all).iter().zip(flat(&gate)).zip(flat(&up)) {
                let exact = exact(function, f64::from(gate)) * f64::from(up);
                let bound = 1e-6 * exact.abs() + 1e-7;
                assert!((f64::from(*y) - exact).abs() < bound, "{function:?} {y} {exact}");
            }
        }
    }

    #[test]
    fn nothing_panics_and_nan_stays_nan() {
        let gate = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0];
        let gate = Tensor::new(&gate, &device()).unwrap();
        let ones = gate.ones_like().unwrap();
        for function in [Gate::Silu, Gate::Gelu] {
            let y = gated(&gate, &ones, function).unwrap().to_vec1::<f32>().unwrap();
            assert!(y[0].is_nan(), "{function:?}");
            assert_eq!([y[1], y[4], y[5]], [f32::INFINITY, 1e30, 0.0], "{function:?}");
            assert!(gated(&gate, &gate.narrow(0, 0, 2).unwrap(), function).is_err(), "the shape");
        }
    }
}
