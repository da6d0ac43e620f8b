//! Writing keys and values; `kv_cache.cu`.

use std::collections::HashMap;

use super::launch::{Address, Arguments, Launch};

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct WriteKv {
    pub(crate) rows: Address,
    pub(crate) sources: Address,
    pub(crate) slots: Address,
    pub(crate) cache: Address,
    pub(crate) width: u32,
    pub(crate) half: u32,
}

// SAFETY: as in `kv_cache.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for WriteKv {}

impl WriteKv {
    pub(crate) fn launch(self, rows: usize) -> Launch<WriteKv> {
        const THREADS: usize = 128;
        Launch::new("write_kv", (rows, 1), THREADS, self)
    }
}

/// The rows that stay, with their slots: of rows with the same slot the last. Blocks of threads run in
/// any order, so no slot may be written twice.
pub(crate) fn last_of_each(slots: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let last: HashMap<u32, usize> = slots.iter().enumerate().map(|(i, slot)| (*slot, i)).collect();
    let stays = |(row, slot): &(usize, &u32)| last[*slot] == *row;
    slots.iter().enumerate().filter(stays).map(|(row, slot)| (row as u32, *slot)).unzip()
}

#[cfg(feature = "cuda")]
mod body {
    use candle_core::backend::BackendStorage;
    use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DevicePtrMut};
    use candle_core::cuda_backend::{CudaDType, CudaStorage};
    use candle_core::{DType, Layout, Result, bail};
    use half::f16;

    use super::super::gpu::{contiguous, run};
    use super::super::uploads::send;
    use super::{WriteKv, last_of_each};

    /// `rows` (M, kv heads, head width) to `slots` of `cache`; shapes and slots were checked.
    pub(crate) fn forward(
        op: &'static str,
        (cache, cache_layout): (&mut CudaStorage, &Layout),
        rows: (&CudaStorage, &Layout),
        slots: &[u32],
    ) -> Result<()> {
        match cache.dtype() {
            DType::F16 => write::<f16>(op, (cache, cache_layout), rows, slots),
            DType::F32 => write::<f32>(op, (cache, cache_layout), rows, slots),
            other => bail!("{op}: the cache is {other:?}, neither f16 nor f32"),
        }
    }

    fn write<T: CudaDType>(
        op: &'static str,
        (cache, cache_layout): (&mut CudaStorage, &Layout),
        (rows, rows_layout): (&CudaStorage, &Layout),
        slots: &[u32],
    ) -> Result<()> {
        let (_, heads, head_width) = rows_layout.shape().dims3()?;
        let Some((start, end)) = cache_layout.contiguous_offsets() else {
            bail!("{op}: the cache is not contiguous")
        };
        let (sources, slots) = last_of_each(slots);
        if sources.is_empty() || heads * head_width == 0 {
            return Ok(());
        }
        let device = rows.device.clone();
        let stream = device.cuda_stream();
        let count = sources.len();
        let (sources, slots) = (send(&device, &sources)?, send(&device, &slots)?);
        let view = contiguous::<f32>(op, rows, rows_layout)?;
        let mut cache = T::as_cuda_slice_mut(cache)?.slice_mut(start..end);
        let (rows, _rows) = view.device_ptr(&stream);
        let (sources, _sources) = sources.device_ptr(&stream);
        let (slots, _slots) = slots.device_ptr(&stream);
        let (cache, _cache) = cache.device_ptr_mut(&stream);
        let (width, half) = ((heads * head_width) as u32, u32::from(size_of::<T>() == 2));
        let arguments = WriteKv { rows, sources, slots, cache, width, half };
        // SAFETY: a block has one row and one slot; the caller checked the slots, none of which is
        // written by two blocks.
        #[allow(unsafe_code)]
        unsafe {
            run(&device, arguments.launch(count))
        }
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::forward;
