//! Repacked weights as bytes: they are written to a file once, and used from a mapping of it ever after.
#![allow(unsafe_code)]

use std::ops::{Deref, Range};
use std::sync::Arc;

use half::{bf16, f16};

use crate::lanes::{LANES, Line};
use crate::weight_kind::WeightKind;

use super::block_tiles::{self, BlockTiles};
use super::float_tiles::{FloatTiles, Weights};
use super::format::{Format, ScaleNumber, Visitor, visit};
use super::{QMatrix, Tiles};

/// Version of the layout of repacked weights. It must be raised whenever the bytes of
/// [`QMatrix::packed`] change for any kind: what older programs wrote is then not read any more.
pub const PACKING_VERSION: u32 = 1;

/// Where packed weights must begin, in bytes: a cache line.
pub const PACKED_ALIGNMENT: usize = 64;

/// The memory of repacked weights, for whoever writes it to a file.
pub type PackedPart = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes that stay.
///
/// # Safety
/// As long as a value lives, [`AsRef::as_ref`] must give the same bytes at the same place, and nobody may
/// change them.
pub unsafe trait Unchanging: AsRef<[u8]> + Send + Sync + 'static {}

/// A part of bytes that others own too: of a mapped file, say.
#[derive(Clone)]
pub struct SharedBytes {
    owner: Arc<dyn Unchanging>,
    range: Range<usize>,
}

/// Why bytes are no packed weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// No matrix of this kind has this shape.
    #[error("no {kind:?} matrix has {rows} rows and {columns} columns")]
    Shape {
        /// The type of the weights.
        kind: WeightKind,
        /// Output width.
        rows: usize,
        /// Input width.
        columns: usize,
    },
    /// The bytes are too few or too many.
    #[error("the packed weights take {expected} bytes, not {actual}")]
    Length {
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// They do not begin on a cache line.
    #[error("the packed weights do not begin at a multiple of {PACKED_ALIGNMENT} bytes")]
    Unaligned,
}

impl SharedBytes {
    /// The bytes of `range`; `None` where the owner has fewer.
    pub fn new(owner: Arc<dyn Unchanging>, range: Range<usize>) -> Option<SharedBytes> {
        (*owner).as_ref().get(range.clone())?;
        Some(SharedBytes { owner, range })
    }

    fn slice(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }

    fn part(&self, range: Range<usize>) -> SharedBytes {
        let range = self.range.start + range.start..self.range.start + range.end;
        SharedBytes { owner: self.owner.clone(), range }
    }
}

/// A number without padding, of which every pattern of bits is one.
///
/// # Safety
/// Exactly that.
pub(super) unsafe trait Number: Copy + Send + Sync + 'static {}

// SAFETY: floats have neither padding nor forbidden bits.
unsafe impl Number for f32 {}
// SAFETY: as above; both are 16 bits in a transparent struct.
unsafe impl Number for f16 {}
// SAFETY: as above.
unsafe impl Number for bf16 {}

/// A value without padding, of which every pattern of bits is one.
///
/// # Safety
/// Exactly that.
pub(super) unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: 64 bytes, aligned to 64.
unsafe impl Plain for Line {}
// SAFETY: an array has the padding of its elements.
unsafe impl<N: Number> Plain for [N; LANES] {}

/// Values that this process packed, or that lie in bytes of others. Cloning shares them.
pub(super) struct Packed<T> {
    start: *const T,
    length: usize,
    owner: Owner<T>,
}

#[derive(Clone)]
enum Owner<T> {
    Ours(Arc<Vec<T>>),
    Shared(Arc<dyn Unchanging>),
}

// SAFETY: nobody can change the values, and both owners may be sent and shared.
unsafe impl<T: Plain> Send for Packed<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Packed<T> {}

impl<T: Plain> Packed<T> {
    /// Values in the bytes of others.
    fn shared(bytes: &SharedBytes) -> Result<Packed<T>, PackedError> {
        let slice = bytes.slice();
        let (actual, length) = (slice.len(), slice.len() / size_of::<T>());
        if actual != length * size_of::<T>() {
            return Err(PackedError::Length { expected: length * size_of::<T>(), actual });
        }
        let start = slice.as_ptr().cast::<T>();
        if !start.is_aligned() {
            return Err(PackedError::Unaligned);
        }
        Ok(Packed { start, length, owner: Owner::Shared(bytes.owner.clone()) })
    }
}

impl<T> From<Vec<T>> for Packed<T> {
    fn from(values: Vec<T>) -> Packed<T> {
        let (start, length) = (values.as_ptr(), values.len());
        Packed { start, length, owner: Owner::Ours(Arc::new(values)) }
    }
}

impl<T> Clone for Packed<T> {
    fn clone(&self) -> Packed<T> {
        let owner = match &self.owner {
            Owner::Ours(values) => Owner::Ours(values.clone()),
            Owner::Shared(bytes) => Owner::Shared(bytes.clone()),
        };
        Packed { start: self.start, length: self.length, owner }
    }
}

impl<T> Deref for Packed<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the owner keeps so many values at this place as long as `self` lives: a vector that
        // nobody can reach to change it, or bytes that stay, whose length and alignment were checked for
        // a type of which every pattern of bits is a value.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T: Plain> AsRef<[u8]> for Packed<T> {
    fn as_ref(&self) -> &[u8] {
        let values: &[T] = self;
        // SAFETY: the values have no padding, so all their bytes are initialized.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
    }
}

impl QMatrix {
    /// The memory of the weights, one part after the other, each but the last a multiple of
    /// 64 bytes long; `None` on a GPU.
    pub fn packed(&self) -> Option<Vec<PackedPart>> {
        Some(match &self.tiles {
            Tiles::Blocks(tiles) => {
                let scales: PackedPart = match &tiles.scales {
                    block_tiles::Scales::Halves(scales) => Arc::new(scales.clone()),
                    block_tiles::Scales::Singles(scales) => Arc::new(scales.clone()),
                };
                vec![Arc::new(tiles.lines.clone()), scales]
            }
            Tiles::Floats(tiles) => vec![match &tiles.weights {
                Weights::F32(weights) => Arc::new(weights.clone()),
                Weights::F16(weights) => Arc::new(weights.clone()),
                Weights::BF16(weights) => Arc::new(weights.clone()),
            }],
            #[cfg(feature = "cuda")]
            Tiles::Gpu(_) => return None,
        })
    }

    /// A matrix over the bytes that [`QMatrix::packed`] gave for one of this kind and shape, in this
    /// version of the layout. They are not copied; what they say is believed.
    pub fn from_packed(
        kind: WeightKind,
        rows: usize,
        columns: usize,
        bytes: SharedBytes,
    ) -> Result<QMatrix, PackedError> {
        if rows == 0 || columns == 0 || !columns.is_multiple_of(kind.block_columns()) {
            return Err(PackedError::Shape { kind, rows, columns });
        }
        if !bytes.slice().as_ptr().addr().is_multiple_of(PACKED_ALIGNMENT) {
            return Err(PackedError::Unaligned);
        }
        let weights = match kind {
            WeightKind::F32 => Weights::F32(floats(rows, columns, &bytes)?),
            WeightKind::F16 => Weights::F16(floats(rows, columns, &bytes)?),
            WeightKind::BF16 => Weights::BF16(floats(rows, columns, &bytes)?),
            _ => {
                let tiles = visit(kind, Blocks { kind, rows, columns, bytes: &bytes })?;
                return Ok(QMatrix { rows, columns, kind, tiles: Tiles::Blocks(tiles) });
            }
        };
        let tiles = Tiles::Floats(FloatTiles { rows, columns, weights });
        Ok(QMatrix { rows, columns, kind, tiles })
    }
}

fn check_length(expected: usize, bytes: &SharedBytes) -> Result<(), PackedError> {
    let actual = bytes.range.len();
    if actual == expected { Ok(()) } else { Err(PackedError::Length { expected, actual }) }
}

fn floats<N: Number>(
    rows: usize,
    columns: usize,
    bytes: &SharedBytes,
) -> Result<Packed<[N; LANES]>, PackedError> {
    let vectors = rows.div_ceil(LANES).saturating_mul(columns);
    check_length(vectors.saturating_mul(size_of::<[N; LANES]>()), bytes)?;
    Packed::shared(bytes)
}

/// Finds codes and scales of a quantized kind.
struct Blocks<'a> {
    kind: WeightKind,
    rows: usize,
    columns: usize,
    bytes: &'a SharedBytes,
}

impl Visitor for Blocks<'_> {
    type Output = Result<BlockTiles, PackedError>;

    fn visit<F: Format>(self) -> Self::Output {
        let Blocks { kind, rows, columns, bytes } = self;
        let blocks = columns / 32;
        let (lines, vectors) = block_tiles::counts::<F>(rows, blocks);
        let codes = lines.saturating_mul(size_of::<Line>());
        let scales = vectors.saturating_mul(size_of::<[F::Scale; LANES]>());
        let all = codes.saturating_add(scales);
        check_length(all, bytes)?;
        let lines = Packed::shared(&bytes.part(0..codes))?;
        let scales = F::Scale::wrap(Packed::shared(&bytes.part(codes..all))?);
        Ok(BlockTiles { kind, rows, blocks, lines, scales })
    }
}

#[cfg(test)]
mod tests;
