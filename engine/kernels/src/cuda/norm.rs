//! Root mean square normalization; `norm.cu`.

use super::launch::{Address, Arguments, Launch, REDUCERS};

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RmsNorm {
    pub(crate) x: Address,
    pub(crate) weight: Address,
    pub(crate) out: Address,
    pub(crate) width: u32,
    pub(crate) epsilon: f32,
}

// SAFETY: as in `norm.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for RmsNorm {}

impl RmsNorm {
    pub(crate) fn launch(self, rows: usize) -> Launch<RmsNorm> {
        Launch::new("rms_norm", (rows, 1), REDUCERS, self)
    }
}

#[cfg(feature = "cuda")]
mod body {
    use candle_core::cuda_backend::CudaStorage;
    use candle_core::cuda_backend::cudarc::driver::DevicePtr;
    use candle_core::{Layout, Result};

    use super::super::gpu::{contiguous, output, run};
    use super::RmsNorm;

    /// `x` (rows, width) and `weight` (width), whose shapes were checked.
    pub(crate) fn forward(
        op: &'static str,
        (x, x_layout): (&CudaStorage, &Layout),
        (weight, weight_layout): (&CudaStorage, &Layout),
        epsilon: f32,
    ) -> Result<CudaStorage> {
        let (rows, width) = x_layout.shape().dims2()?;
        let stream = x.device.cuda_stream();
        let x_view = contiguous::<f32>(op, x, x_layout)?;
        let weight_view = contiguous::<f32>(op, weight, weight_layout)?;
        let (x_at, _x) = x_view.device_ptr(&stream);
        let (weight, _weight) = weight_view.device_ptr(&stream);
        output(&x.device, rows * width, |out| {
            let arguments = RmsNorm { x: x_at, weight, out, width: width as u32, epsilon };
            // SAFETY: a block has one row of `x` and `out`, and all of `weight`.
            #[allow(unsafe_code)]
            unsafe {
                run(&x.device, arguments.launch(rows))
            }
        })
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::forward;
