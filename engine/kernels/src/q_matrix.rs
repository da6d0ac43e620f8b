//! A weight matrix of any ggml kind, multiplied row by row.

mod block_tiles;
mod exact;
mod float_tiles;
mod format;
mod integer;
pub(crate) mod packed;
pub(crate) mod projection;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

use crate::activations::{Activations, Quantized};
use crate::path::Path;
use crate::shared_rows::NewRows;
use crate::storage::contiguous;
use crate::weight_kind::{WeightError, WeightKind};
use block_tiles::BlockTiles;
use float_tiles::FloatTiles;
use format::wanted;
use integer::Sink;

/// Weights of shape (rows, columns), repacked at load so that 16 rows are computed at once.
///
/// The matrix maps activations of width `columns` to width `rows`. The same matrix serves as embedding
/// and as head where a model ties them.
pub struct QMatrix {
    rows: usize,
    columns: usize,
    kind: WeightKind,
    tiles: Tiles,
}

enum Tiles {
    Blocks(BlockTiles),
    Floats(FloatTiles),
    #[cfg(feature = "cuda")]
    Gpu(crate::cuda::matrix::GpuBlocks),
}

impl QMatrix {
    /// Repacks `rows` x `columns` weights that are written row by row in ggml's `kind`. The bytes may be
    /// mapped from a file; nothing of them is kept.
    pub fn from_ggml(
        kind: WeightKind,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> std::result::Result<QMatrix, WeightError> {
        kind.check(rows, columns, bytes)?;
        let tiles = match FloatTiles::pack(kind, rows, columns, bytes) {
            Some(floats) => Tiles::Floats(floats),
            None => Tiles::Blocks(BlockTiles::pack(kind, rows, columns, bytes)),
        };
        Ok(QMatrix { rows, columns, kind, tiles })
    }

    /// The same on `device`, where activations must be too. A GPU keeps the bytes as they are.
    pub fn on_device(
        device: &Device,
        kind: WeightKind,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> std::result::Result<QMatrix, WeightError> {
        match device {
            Device::Cpu => QMatrix::from_ggml(kind, rows, columns, bytes),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                kind.check(rows, columns, bytes)?;
                let blocks =
                    crate::cuda::matrix::GpuBlocks::send(device, kind, rows, columns, bytes)
                        .map_err(|error| WeightError::Device { message: error.to_string() })?;
                Ok(QMatrix { rows, columns, kind, tiles: Tiles::Gpu(blocks) })
            }
            other => {
                let message = format!("no kernels for {:?} in this build", other.location());
                Err(WeightError::Device { message })
            }
        }
    }

    /// Width of the output.
    pub fn output_width(&self) -> usize {
        self.rows
    }

    /// Width of the input.
    pub fn input_width(&self) -> usize {
        self.columns
    }

    /// How the weights were written.
    pub fn kind(&self) -> WeightKind {
        self.kind
    }

    /// Memory that the weights take, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.tiles {
            Tiles::Blocks(tiles) => tiles.bytes(),
            Tiles::Floats(tiles) => tiles.bytes(),
            #[cfg(feature = "cuda")]
            Tiles::Gpu(blocks) => blocks.bytes(),
        }
    }

    /// `x` (M, columns) times the transposed weights: (M, rows). Row `i` of the result depends on row `i`
    /// of `x` alone. Weights that are floats are multiplied as floats whatever `activations` says, and so
    /// are all on a GPU.
    pub fn forward(&self, x: &Tensor, activations: Activations) -> Result<Tensor> {
        self.forward_on(Path::best(), x, activations)
    }

    /// The rows `ids` as floats: (ids, columns), an embedding lookup.
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.rows) {
            bail!("row {id} of a matrix of {} rows", self.rows)
        }
        #[cfg(feature = "cuda")]
        if let Tiles::Gpu(blocks) = &self.tiles {
            return blocks.rows(ids);
        }
        let mut out = vec![0.0; ids.len() * self.columns];
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(self.columns)) {
            match &self.tiles {
                Tiles::Blocks(tiles) => tiles.row(id as usize, out),
                Tiles::Floats(tiles) => tiles.row(id as usize, out),
                #[cfg(feature = "cuda")]
                Tiles::Gpu(_) => unreachable!("answered above"),
            }
        }
        Tensor::from_vec(out, (ids.len(), self.columns), &Device::Cpu)
    }

    fn forward_on(&self, path: Path, x: &Tensor, activations: Activations) -> Result<Tensor> {
        x.apply_op1_no_bwd(&MatrixProduct { matrix: self, path, activations })
    }
}

impl std::fmt::Debug for QMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QMatrix({} x {} {:?})", self.rows, self.columns, self.kind)
    }
}

struct MatrixProduct<'a> {
    matrix: &'a QMatrix,
    path: Path,
    activations: Activations,
}

impl CustomOp1 for MatrixProduct<'_> {
    fn name(&self) -> &'static str {
        "matrix-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let matrix = self.matrix;
        let rows = self.rows(layout)?;
        let x = contiguous::<f32>(self.name(), storage, layout)?;
        let mut out = NewRows::new(rows, matrix.rows);
        let shared = out.shared();
        match (&matrix.tiles, self.activations) {
            (Tiles::Blocks(tiles), Activations::Int8) => {
                let sink = Sink::Write;
                let x = Quantized::new(self.path, x, tiles.blocks, None, wanted(tiles.kind));
                integer::product(self.path, tiles, &x, sink, &shared);
            }
            (Tiles::Blocks(tiles), Activations::F32) => {
                exact::product(self.path, tiles, x, rows, &shared);
            }
            (Tiles::Floats(tiles), _) => tiles.product(self.path, x, rows, &shared),
            #[cfg(feature = "cuda")]
            (Tiles::Gpu(_), _) => bail!("{matrix:?} is on a GPU, the activations are not"),
        }
        // SAFETY: every tile was in one part of the work, and a tile writes its columns of every row.
        #[allow(unsafe_code)]
        let out = unsafe { out.finish() };
        Ok((CpuStorage::F32(out), Shape::from((rows, matrix.rows))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let rows = self.rows(layout)?;
        let Tiles::Gpu(blocks) = &self.matrix.tiles else {
            bail!("the activations are on a GPU, {:?} is not", self.matrix)
        };
        let out = blocks.product(self.name(), x, layout)?;
        Ok((out, Shape::from((rows, self.matrix.rows))))
    }
}

impl MatrixProduct<'_> {
    /// Rows of activations, once their width is checked.
    fn rows(&self, x: &Layout) -> Result<usize> {
        let (rows, width) = x.shape().dims2()?;
        if width != self.matrix.columns {
            bail!("{:?} meets activations of width {width}", self.matrix)
        }
        Ok(rows)
    }
}
