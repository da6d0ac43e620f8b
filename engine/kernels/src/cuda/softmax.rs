//! Softmax of rows; `softmax.cu`.

use super::launch::{Address, Arguments, Launch, REDUCERS};

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Softmax {
    pub(crate) x: Address,
    pub(crate) out: Address,
    pub(crate) width: u32,
}

// SAFETY: as in `softmax.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for Softmax {}

impl Softmax {
    pub(crate) fn launch(self, rows: usize) -> Launch<Softmax> {
        Launch::new("softmax", (rows, 1), REDUCERS, self)
    }
}

#[cfg(feature = "cuda")]
mod body {
    use candle_core::cuda_backend::CudaStorage;
    use candle_core::cuda_backend::cudarc::driver::DevicePtr;
    use candle_core::{Layout, Result, Shape};

    use super::super::gpu::{contiguous, output, run};
    use super::Softmax;

    /// `x` (rows, width).
    pub(crate) fn forward(
        op: &'static str,
        x: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let stream = x.device.cuda_stream();
        let view = contiguous::<f32>(op, x, layout)?;
        let (x_at, _x) = view.device_ptr(&stream);
        let out = output(&x.device, rows * width, |out| {
            let arguments = Softmax { x: x_at, out, width: width as u32 };
            // SAFETY: a block has one row of `x` and `out`.
            #[allow(unsafe_code)]
            unsafe {
                run(&x.device, arguments.launch(rows))
            }
        })?;
        Ok((out, layout.shape().clone()))
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::forward;
