//! Products with what comes before and after them, so that activations are gone through once.
//!
//! Each gives bit for bit what its parts give one after the other, which is also how it is computed on a
//! GPU and where weights or activations are floats.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor, bail};

use crate::activations::{Activations, Quantized, Wanted};
use crate::gate::{Gate, gated};
use crate::norm::{Norm, RmsNorm, rms_norm};
use crate::path::Path;
use crate::shared_rows::NewRows;
use crate::storage::contiguous;
use crate::threads::split;

use super::block_tiles::BlockTiles;
use super::format::wanted;
use super::integer::{Products, Sink, product};
use super::{QMatrix, Tiles};

/// The rows of `x` (M, width), normalized if they are to be, times each of the transposed matrices:
/// (M, rows of the matrix) of each.
pub fn project(
    x: &Tensor,
    norm: Option<RmsNorm<'_>>,
    matrices: &[&QMatrix],
    activations: Activations,
) -> Result<Vec<Tensor>> {
    let tiles: Option<Vec<_>> =
        matrices.iter().map(|matrix| matrix.for_integers(x, activations)).collect();
    match tiles {
        Some(tiles) => with_rows(x, norm, |x, norm| integers(Path::best(), x, norm, &tiles)),
        None => {
            let x = normed(x, norm)?;
            matrices.iter().map(|matrix| matrix.forward(&x, activations)).collect()
        }
    }
}

/// `function(x gate) * (x up)` of the normalized rows of `x` (M, width): (M, rows of the matrices).
pub fn project_gated(
    x: &Tensor,
    norm: RmsNorm<'_>,
    (gate, up): (&QMatrix, &QMatrix),
    function: Gate,
    activations: Activations,
) -> Result<Tensor> {
    match (gate.for_integers(x, activations), up.for_integers(x, activations)) {
        (Some(gate), Some(up)) if gate.kind == up.kind && gate.rows == up.rows => {
            with_rows(x, Some(norm), |x, norm| {
                let x = Quantized::new(Path::best(), x, gate.blocks, norm, wanted(gate.kind));
                one(Path::best(), gate, &x, Sink::Gate(up, function))
            })
        }
        _ => {
            let x = normed(x, Some(norm))?;
            gated(&gate.forward(&x, activations)?, &up.forward(&x, activations)?, function)
        }
    }
}

/// `to` (M, rows of the matrix) with the rows of `x` (M, width) times the transposed matrix added to it.
pub fn project_onto(
    x: &Tensor,
    matrix: &QMatrix,
    to: &Tensor,
    activations: Activations,
) -> Result<Tensor> {
    match matrix.for_integers(x, activations) {
        Some(tiles) if to.dims() == [x.dim(0)?, tiles.rows] => with_rows(to, None, |to, _| {
            with_rows(x, None, |x, _| {
                let x = Quantized::new(Path::best(), x, tiles.blocks, None, wanted(tiles.kind));
                one(Path::best(), tiles, &x, Sink::Add(to))
            })
        }),
        _ => to + matrix.forward(x, activations)?,
    }
}

impl QMatrix {
    /// The tiles, if their product with `x` is one of integers on the CPU and the widths agree.
    fn for_integers(&self, x: &Tensor, activations: Activations) -> Option<&BlockTiles> {
        let fits = matches!(x.dims(), [_, width] if *width == self.columns);
        match &self.tiles {
            Tiles::Blocks(tiles) if fits && activations == Activations::Int8 => Some(tiles),
            _ => None,
        }
    }
}

fn normed(x: &Tensor, norm: Option<RmsNorm<'_>>) -> Result<Tensor> {
    match norm {
        Some(norm) => rms_norm(x, norm.weight, norm.eps),
        None => Ok(x.clone()),
    }
}

/// Calls `then` with the elements of a contiguous matrix and of the norm's weights.
fn with_rows<T>(
    x: &Tensor,
    norm: Option<RmsNorm<'_>>,
    then: impl FnOnce(&[f32], Option<Norm<'_>>) -> Result<T>,
) -> Result<T> {
    fn slice<'a>(storage: &'a Storage, x: &candle_core::Layout) -> Result<&'a [f32]> {
        match storage {
            Storage::Cpu(storage @ CpuStorage::F32(_)) => contiguous("projection", storage, x),
            _ => bail!("projection: the activations are not floats on the CPU"),
        }
    }
    let (storage, layout) = x.storage_and_layout();
    let rows = slice(&storage, layout)?;
    let Some(RmsNorm { weight, eps }) = norm else { return then(rows, None) };
    if weight.dims() != [x.dim(1)?] {
        bail!("projection: rows of {:?}, a norm of {:?}", x.dims(), weight.dims())
    }
    let (storage, layout) = weight.storage_and_layout();
    then(rows, Some(Norm { weight: slice(&storage, layout)?, eps }))
}

/// The products with one matrix.
fn one(path: Path, tiles: &BlockTiles, x: &Quantized, sink: Sink<'_>) -> Result<Tensor> {
    let mut out = NewRows::new(x.rows, tiles.rows);
    let shared = out.shared();
    product(path, tiles, x, sink, &shared);
    // SAFETY: every tile was in one range, and a tile writes its columns of every row.
    #[allow(unsafe_code)]
    let elements = unsafe { out.finish() };
    Tensor::from_vec(elements, (x.rows, tiles.rows), &Device::Cpu)
}

/// The products with several matrices, all in one go.
pub(super) fn integers(
    path: Path,
    x: &[f32],
    norm: Option<Norm<'_>>,
    matrices: &[&BlockTiles],
) -> Result<Vec<Tensor>> {
    let blocks = matrices.first().map_or(1, |tiles| tiles.blocks);
    let rows = x.len() / (32 * blocks);
    // most often all kinds want the same
    let mut rounded: Vec<(Wanted, Quantized)> = Vec::new();
    for tiles in matrices {
        let wanted = wanted(tiles.kind);
        if rounded.iter().all(|(known, _)| *known != wanted) {
            rounded.push((wanted, Quantized::new(path, x, blocks, norm, wanted)));
        }
    }
    let of = |tiles: &BlockTiles| {
        let found = rounded.iter().find(|(known, _)| *known == wanted(tiles.kind));
        &found.expect("what every kind wants was made").1
    };
    let mut outs: Vec<_> = matrices.iter().map(|tiles| NewRows::new(rows, tiles.rows)).collect();
    let shared: Vec<_> = outs.iter_mut().map(NewRows::shared).collect();
    let products = |i: usize, range| {
        let tiles = matrices[i];
        Products { tiles, x: of(tiles), range, sink: Sink::Write, out: &shared[i] }
    };
    let count = matrices.iter().map(|tiles| tiles.tiles()).sum();
    let cost = if matrices.is_empty() { 1 } else { products(0, 0..0).cost() };
    split(count, cost, |range| {
        let mut before = 0;
        for i in 0..matrices.len() {
            let tiles = matrices[i].tiles();
            let mine =
                range.start.clamp(before, before + tiles)..range.end.clamp(before, before + tiles);
            if !mine.is_empty() {
                products(i, mine.start - before..mine.end - before).run(path);
            }
            before += tiles;
        }
    });
    drop(shared);
    let tensor = |(out, tiles): (NewRows, &&BlockTiles)| {
        // SAFETY: every tile was in one range, and a tile writes its columns of every row.
        #[allow(unsafe_code)]
        let elements = unsafe { out.finish() };
        Tensor::from_vec(elements, (rows, tiles.rows), &Device::Cpu)
    };
    outs.into_iter().zip(matrices).map(tensor).collect()
}
