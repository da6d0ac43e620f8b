//! Rotary position embedding; `rope.cu`.

use super::launch::{Address, Arguments, Launch};

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Rope {
    pub(crate) x: Address,
    pub(crate) turns: Address,
    pub(crate) positions: Address,
    pub(crate) out: Address,
    pub(crate) heads: u32,
    pub(crate) width: u32,
    pub(crate) pairs: u32,
    pub(crate) halves: u32,
}

// SAFETY: as in `rope.cu`.
#[allow(unsafe_code)]
unsafe impl Arguments for Rope {}

impl Rope {
    pub(crate) fn launch(self, rows: usize) -> Launch<Rope> {
        /// A head is 64 to 256 elements wide.
        const THREADS: usize = 64;
        Launch::new("rope", (rows, self.heads as usize), THREADS, self)
    }
}

#[cfg(feature = "cuda")]
mod body {
    use std::sync::{Arc, OnceLock};

    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
    use candle_core::cuda_backend::{CudaStorage, DeviceId};
    use candle_core::{CudaDevice, Layout, Result};

    use super::super::gpu::{contiguous, output, run};
    use super::super::uploads::send;
    use super::Rope;

    /// A table's cosines and sines on the device that asked for them first.
    #[derive(Default)]
    pub(crate) struct Turns(OnceLock<(DeviceId, Arc<CudaSlice<f32>>)>);

    impl Turns {
        fn on(&self, device: &CudaDevice, turns: &[f32]) -> Result<Arc<CudaSlice<f32>>> {
            if let Some((owner, there)) = self.0.get()
                && *owner == device.id()
            {
                return Ok(there.clone());
            }
            let there = Arc::new(device.clone_htod(turns)?);
            // another thread may have been faster: then this copy serves once
            let _ = self.0.set((device.id(), there.clone()));
            Ok(there)
        }
    }

    /// A table of rotations.
    pub(crate) struct Table<'a> {
        pub(crate) pairs: usize,
        pub(crate) halves: bool,
        pub(crate) turns: &'a [f32],
        pub(crate) there: &'a Turns,
    }

    /// `x` (rows, heads, width) with a position a row, all of which the table has.
    pub(crate) fn forward(
        op: &'static str,
        (x, layout): (&CudaStorage, &Layout),
        positions: &[u32],
        table: &Table<'_>,
    ) -> Result<CudaStorage> {
        let (rows, heads, width) = layout.shape().dims3()?;
        if layout.shape().elem_count() == 0 {
            return output(&x.device, 0, |_| Ok(()));
        }
        let stream = x.device.cuda_stream();
        let view = contiguous::<f32>(op, x, layout)?;
        let turns = table.there.on(&x.device, table.turns)?;
        let positions = send(&x.device, positions)?;
        let (x_at, _x) = view.device_ptr(&stream);
        let (turns, _turns) = turns.device_ptr(&stream);
        let (positions, _positions) = positions.device_ptr(&stream);
        output(&x.device, rows * heads * width, |out| {
            let arguments = Rope {
                x: x_at,
                turns,
                positions,
                out,
                heads: heads as u32,
                width: width as u32,
                pairs: table.pairs as u32,
                halves: u32::from(table.halves),
            };
            // SAFETY: a block has one head of one row; the caller checked the positions.
            #[allow(unsafe_code)]
            unsafe {
                run(&x.device, arguments.launch(rows))
            }
        })
    }
}

#[cfg(feature = "cuda")]
pub(crate) use body::{Table, Turns, forward};
