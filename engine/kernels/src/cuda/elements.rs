//! Gates and the cap of logits, element by element; `elements.cu`.

use super::launch::{Address, Arguments, Launch};
use crate::gate::Gate;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Gated {
    pub(crate) gate: Address,
    pub(crate) up: Address,
    pub(crate) out: Address,
    pub(crate) count: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SoftCap {
    pub(crate) x: Address,
    pub(crate) out: Address,
    pub(crate) count: u64,
    pub(crate) cap: f32,
}

// SAFETY: as in `elements.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for Gated {}

// SAFETY: as in `elements.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for SoftCap {}

/// Threads of a block.
const THREADS: usize = 256;

impl Gated {
    pub(crate) fn launch(self, gate: Gate) -> Launch<Gated> {
        let kernel = match gate {
            Gate::Silu => "silu_mul",
            Gate::Gelu => "gelu_mul",
        };
        Launch::new(kernel, (self.count.div_ceil(THREADS as u64) as usize, 1), THREADS, self)
    }
}

impl SoftCap {
    pub(crate) fn launch(self) -> Launch<SoftCap> {
        Launch::new("soft_cap", (self.count.div_ceil(THREADS as u64) as usize, 1), THREADS, self)
    }
}

#[cfg(feature = "cuda")]
mod body {
    use candle_core::cuda_backend::CudaStorage;
    use candle_core::cuda_backend::cudarc::driver::DevicePtr;
    use candle_core::{Layout, Result, Shape, bail};

    use super::super::gpu::{contiguous, output, run};
    use super::{Gated, SoftCap};
    use crate::gate::Gate;

    /// `gate` and `up`, of one shape.
    pub(crate) fn gated(
        op: &'static str,
        kind: Gate,
        (gate, gate_layout): (&CudaStorage, &Layout),
        (up, up_layout): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        if gate_layout.shape() != up_layout.shape() {
            bail!("{op}: {:?} and {:?}", gate_layout.shape(), up_layout.shape())
        }
        let device = &gate.device;
        let stream = device.cuda_stream();
        let count = gate_layout.shape().elem_count();
        let gate_view = contiguous::<f32>(op, gate, gate_layout)?;
        let up_view = contiguous::<f32>(op, up, up_layout)?;
        let (gate, _gate) = gate_view.device_ptr(&stream);
        let (up, _up) = up_view.device_ptr(&stream);
        let out = output(device, count, |out| {
            let arguments = Gated { gate, up, out, count: count as u64 };
            // SAFETY: a thread has one element of each, and `count` bounds them.
            #[allow(unsafe_code)]
            unsafe {
                run(device, arguments.launch(kind))
            }
        })?;
        Ok((out, gate_layout.shape().clone()))
    }

    /// Every element of `x`.
    pub(crate) fn soft_cap(
        op: &'static str,
        (x, layout): (&CudaStorage, &Layout),
        cap: f32,
    ) -> Result<(CudaStorage, Shape)> {
        let stream = x.device.cuda_stream();
        let count = layout.shape().elem_count();
        let view = contiguous::<f32>(op, x, layout)?;
        let (x_at, _x) = view.device_ptr(&stream);
        let out = output(&x.device, count, |out| {
            let arguments = SoftCap { x: x_at, out, count: count as u64, cap };
            // SAFETY: a thread has one element of each, and `count` bounds them.
            #[allow(unsafe_code)]
            unsafe {
                run(&x.device, arguments.launch())
            }
        })?;
        Ok((out, layout.shape().clone()))
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::{gated, soft_cap};
