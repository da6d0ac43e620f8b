//! Causal attention over a paged cache; `attention.cu`.

use std::sync::Arc;

use super::launch::{Address, Arguments, Launch, REDUCERS};
use crate::attention::AttentionRow;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Attention {
    pub(crate) q: Address,
    pub(crate) k: Address,
    pub(crate) v: Address,
    pub(crate) tables: Address,
    pub(crate) starts: Address,
    pub(crate) positions: Address,
    pub(crate) out: Address,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) width: u32,
    pub(crate) window: u32,
    pub(crate) half: u32,
    pub(crate) scale: f32,
    pub(crate) cap: f32,
}

// SAFETY: as in `attention.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for Attention {}

impl Attention {
    #[cfg(feature = "cuda")]
    /// Widest head: a query and its weighted values must lie in the 48 KiB of shared memory that every
    /// GPU gives a block.
    pub(crate) const WIDTH_MAX: usize = 4096;

    pub(crate) fn launch(self, rows: usize) -> Launch<Attention> {
        let grid = (rows, self.heads as usize);
        let shared_floats = 2 * self.width as usize;
        Launch { shared_floats, ..Launch::new("paged_attention", grid, REDUCERS, self) }
    }
}

/// The block tables and rows of a batch as the kernel reads them.
pub(crate) struct FlatBatch {
    /// All tables, one after the other.
    pub(crate) tables: Vec<u32>,
    /// Of each row: where its table begins.
    pub(crate) starts: Vec<u32>,
    /// Of each row.
    pub(crate) positions: Vec<u32>,
}

impl FlatBatch {
    pub(crate) fn new(tables: &[Arc<[u32]>], rows: &[AttentionRow]) -> FlatBatch {
        let begins: Vec<u32> = tables
            .iter()
            .scan(0, |at, table| Some(std::mem::replace(at, *at + table.len() as u32)))
            .collect();
        FlatBatch {
            tables: tables.iter().flat_map(|table| table.iter().copied()).collect(),
            starts: rows.iter().map(|row| begins[row.table as usize]).collect(),
            positions: rows.iter().map(|row| row.position).collect(),
        }
    }
}

#[cfg(feature = "cuda")]
mod body {
    use candle_core::backend::BackendStorage;
    use candle_core::cuda_backend::cudarc::driver::DevicePtr;
    use candle_core::cuda_backend::{CudaDType, CudaStorage};
    use candle_core::{DType, Layout, Result, bail};
    use half::f16;

    use super::super::gpu::{contiguous, output, run};
    use super::super::uploads::send;
    use super::{Attention, FlatBatch};
    use crate::attention::AttentionOptions;

    /// `q` (rows, heads, width) over the caches `k` and `v` (blocks, 32, kv heads, width); shapes,
    /// blocks and options were checked.
    pub(crate) fn forward(
        op: &'static str,
        q: (&CudaStorage, &Layout),
        k: (&CudaStorage, &Layout),
        v: (&CudaStorage, &Layout),
        batch: &FlatBatch,
        options: &AttentionOptions,
    ) -> Result<CudaStorage> {
        match k.0.dtype() {
            DType::F16 => attend::<f16>(op, q, k, v, batch, options),
            _ => attend::<f32>(op, q, k, v, batch, options),
        }
    }

    fn attend<T: CudaDType>(
        op: &'static str,
        (q, q_layout): (&CudaStorage, &Layout),
        (k, k_layout): (&CudaStorage, &Layout),
        (v, v_layout): (&CudaStorage, &Layout),
        batch: &FlatBatch,
        options: &AttentionOptions,
    ) -> Result<CudaStorage> {
        let (rows, heads, width) = q_layout.shape().dims3()?;
        let (_, _, kv_heads, _) = k_layout.shape().dims4()?;
        if width > Attention::WIDTH_MAX {
            bail!("{op}: heads of {width} elements; a GPU takes {}", Attention::WIDTH_MAX)
        }
        if rows == 0 {
            return output(&q.device, 0, |_| Ok(()));
        }
        let device = &q.device;
        let stream = device.cuda_stream();
        let q_view = contiguous::<f32>(op, q, q_layout)?;
        let k_view = contiguous::<T>(op, k, k_layout)?;
        let v_view = contiguous::<T>(op, v, v_layout)?;
        let tables = send(device, &batch.tables)?;
        let starts = send(device, &batch.starts)?;
        let positions = send(device, &batch.positions)?;
        let (q, _q) = q_view.device_ptr(&stream);
        let (k, _k) = k_view.device_ptr(&stream);
        let (v, _v) = v_view.device_ptr(&stream);
        let (tables, _tables) = tables.device_ptr(&stream);
        let (starts, _starts) = starts.device_ptr(&stream);
        let (positions, _positions) = positions.device_ptr(&stream);
        output(device, rows * heads * width, |out| {
            let arguments = Attention {
                q,
                k,
                v,
                tables,
                starts,
                positions,
                out,
                heads: heads as u32,
                kv_heads: kv_heads as u32,
                width: width as u32,
                window: options.window.unwrap_or(u32::MAX),
                half: u32::from(size_of::<T>() == 2),
                scale: options.scale,
                cap: options.softcap.unwrap_or(0.0),
            };
            // SAFETY: a block has one head of one row; the batch and its blocks were checked.
            #[allow(unsafe_code)]
            unsafe {
                run(device, arguments.launch(rows))
            }
        })
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::forward;
