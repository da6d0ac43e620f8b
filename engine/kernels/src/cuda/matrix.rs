//! A weight matrix in the memory of a GPU; `matrix.cu`.

use crate::weight_kind::WeightKind;

use super::launch::{Address, Arguments, Launch, REDUCERS};

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Product {
    pub(crate) weights: Address,
    pub(crate) x: Address,
    pub(crate) out: Address,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) count: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Rows {
    pub(crate) weights: Address,
    pub(crate) ids: Address,
    pub(crate) out: Address,
    pub(crate) columns: u32,
}

// SAFETY: as in `matrix.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for Product {}

// SAFETY: as in `matrix.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for Rows {}

/// The two kernels of a kind: product, rows.
fn kernels(kind: WeightKind) -> (&'static str, &'static str) {
    macro_rules! of {
        ($name:literal) => {
            (concat!("product_", $name), concat!("rows_", $name))
        };
    }
    match kind {
        WeightKind::F32 => of!("f32"),
        WeightKind::F16 => of!("f16"),
        WeightKind::BF16 => of!("bf16"),
        WeightKind::Q4_0 => of!("q4_0"),
        WeightKind::Q4_1 => of!("q4_1"),
        WeightKind::Q5_0 => of!("q5_0"),
        WeightKind::Q5_1 => of!("q5_1"),
        WeightKind::Q8_0 => of!("q8_0"),
        WeightKind::Q2K => of!("q2_k"),
        WeightKind::Q3K => of!("q3_k"),
        WeightKind::Q4K => of!("q4_k"),
        WeightKind::Q5K => of!("q5_k"),
        WeightKind::Q6K => of!("q6_k"),
    }
}

impl Product {
    pub(crate) fn launch(self, kind: WeightKind) -> Launch<Product> {
        /// Rows of weights that a block has, a warp each: `WARPS` in `arithmetic.cuh`.
        const WARPS: usize = REDUCERS / 32;
        /// Rows of activations that a warp has: `TILE` in `matrix.cu`.
        const TILE: usize = 8;
        let grid = ((self.rows as usize).div_ceil(WARPS), (self.count as usize).div_ceil(TILE));
        Launch::new(kernels(kind).0, grid, REDUCERS, self)
    }
}

impl Rows {
    pub(crate) fn launch(self, kind: WeightKind, ids: usize) -> Launch<Rows> {
        Launch::new(kernels(kind).1, (ids, 1), REDUCERS, self)
    }
}

#[cfg(feature = "cuda")]
mod body {
    use candle_core::cuda_backend::CudaStorage;
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
    use candle_core::{
        CpuStorage, CudaDevice, CustomOp1, Device, Layout, Result, Shape, Tensor, bail,
    };

    use super::super::gpu::{contiguous, output, run};
    use super::{Product, Rows};
    use crate::weight_kind::WeightKind;

    /// Weights (rows, columns) as the file has them.
    pub(crate) struct GpuBlocks {
        kind: WeightKind,
        rows: usize,
        columns: usize,
        weights: CudaSlice<u8>,
        device: CudaDevice,
    }

    impl GpuBlocks {
        /// Copies `bytes`, whose length was checked, to the device.
        pub(crate) fn send(
            device: &CudaDevice,
            kind: WeightKind,
            rows: usize,
            columns: usize,
            bytes: &[u8],
        ) -> Result<GpuBlocks> {
            if rows > u32::MAX as usize || columns > u32::MAX as usize {
                bail!("a matrix of {rows} x {columns} is beyond the kernels")
            }
            let weights = device.clone_htod(bytes)?;
            Ok(GpuBlocks { kind, rows, columns, weights, device: device.clone() })
        }

        pub(crate) fn bytes(&self) -> usize {
            self.weights.len()
        }

        /// `x` (count, columns) times the transposed weights; shapes were checked.
        pub(crate) fn product(
            &self,
            op: &'static str,
            x: &CudaStorage,
            layout: &Layout,
        ) -> Result<CudaStorage> {
            let (count, _) = layout.shape().dims2()?;
            let stream = self.device.cuda_stream();
            let view = contiguous::<f32>(op, x, layout)?;
            let (x, _x) = view.device_ptr(&stream);
            let (weights, _weights) = self.weights.device_ptr(&stream);
            output(&self.device, count * self.rows, |out| {
                let (rows, columns, count) = (self.rows as u32, self.columns as u32, count as u32);
                let arguments = Product { weights, x, out, rows, columns, count };
                // SAFETY: the kernel stays below `rows`, `columns` and `count`.
                #[allow(unsafe_code)]
                unsafe {
                    run(&self.device, arguments.launch(self.kind))
                }
            })
        }

        /// The rows `ids` as floats, all of which the matrix has; not empty.
        pub(crate) fn rows(&self, ids: &[u32]) -> Result<Tensor> {
            let ids = Tensor::new(ids, &Device::Cuda(self.device.clone()))?;
            ids.apply_op1_no_bwd(&RowsOf { blocks: self })
        }
    }

    /// Ids (count) become rows (count, columns).
    struct RowsOf<'a> {
        blocks: &'a GpuBlocks,
    }

    impl CustomOp1 for RowsOf<'_> {
        fn name(&self) -> &'static str {
            "matrix-rows"
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
            bail!("{}: the weights are on a GPU", self.name())
        }

        fn cuda_fwd(&self, ids: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
            let GpuBlocks { kind, columns, weights, device, .. } = self.blocks;
            let count = layout.shape().elem_count();
            let stream = device.cuda_stream();
            let view = contiguous::<u32>(self.name(), ids, layout)?;
            let (ids, _ids) = view.device_ptr(&stream);
            let (weights, _weights) = weights.device_ptr(&stream);
            let out = output(device, count * columns, |out| {
                let arguments = Rows { weights, ids, out, columns: *columns as u32 };
                // SAFETY: a block has one row; `GpuBlocks::rows` is asked for rows that there are.
                #[allow(unsafe_code)]
                unsafe {
                    run(device, arguments.launch(*kind, count))
                }
            })?;
            Ok((out, Shape::from((count, *columns))))
        }
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::GpuBlocks;
