//! The table of tensors.

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;

use super::source::Source;
use super::{GgmlType, GgufError};

/// Longest name in bytes; ggml takes 64.
const NAME_BYTES_MAX: u64 = 256;
/// Most dimensions (`GGML_MAX_DIMS`).
const DIMENSIONS_MAX: u64 = 4;

/// Where a tensor lies and how it is to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorEntry {
    /// Its name, unique in the file.
    pub name: String,
    /// How its values are stored.
    pub kind: GgmlType,
    /// One to four sizes, innermost first, none 0; the first is a multiple of the type's block.
    pub shape: Vec<u64>,
    /// Its bytes, counted from the file's begin; within the file.
    pub bytes: Range<u64>,
}

/// Reads the table, which ends the head. In the entries that come back `bytes` counts from the
/// file's begin.
pub fn read_table(
    source: &mut Source<impl Read>,
    count: u64,
    alignment: u64,
) -> Result<Vec<TensorEntry>, GgufError> {
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count {
        let offset = source.offset();
        let tensor = read_entry(source, alignment)?;
        if !names.insert(tensor.name.clone()) {
            return Err(GgufError::DuplicateTensor { name: tensor.name, offset });
        }
        tensors.push(tensor);
    }
    place(&mut tensors, source.offset().next_multiple_of(alignment), source.length())?;
    check_overlap(&tensors)?;
    Ok(tensors)
}

/// Reads one entry; `bytes` counts from the begin of the data.
fn read_entry(source: &mut Source<impl Read>, alignment: u64) -> Result<TensorEntry, GgufError> {
    let entry = source.offset();
    let name = source.text("tensor name", NAME_BYTES_MAX)?;
    let dimensions = source.u32(&name)?.into();
    source.limit(&name, dimensions, DIMENSIONS_MAX)?;
    let shape = (0..dimensions).map(|_| source.u64(&name)).collect::<Result<Vec<_>, _>>()?;
    let offset = source.offset();
    let id = source.u32(&name)?;
    let Some(kind) = GgmlType::from_id(id) else {
        return Err(GgufError::UnknownType { what: name, offset, id });
    };
    let start = source.u64(&name)?;
    if start % alignment != 0 {
        return Err(GgufError::Misaligned { name, start, alignment });
    }
    let Some(size) = size(kind, &shape) else {
        return Err(GgufError::Shape { name, offset: entry, shape });
    };
    let Some(end) = start.checked_add(size) else {
        let length = source.length();
        return Err(GgufError::OutOfFile { name, start, end: u64::MAX, length });
    };
    Ok(TensorEntry { name, kind, shape, bytes: start..end })
}

/// Bytes of a tensor; `None` where it has none, too many, or a torn block.
fn size(kind: GgmlType, shape: &[u64]) -> Option<u64> {
    let row = *shape.first()?;
    if shape.contains(&0) || row % kind.block_values() != 0 {
        return None;
    }
    let values = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size))?;
    (values / kind.block_values()).checked_mul(kind.block_bytes())
}

/// Moves the ranges to where the data begins.
fn place(tensors: &mut [TensorEntry], data: u64, length: u64) -> Result<(), GgufError> {
    for tensor in tensors {
        let start = tensor.bytes.start.saturating_add(data);
        let end = tensor.bytes.end.saturating_add(data);
        if end > length {
            let name = tensor.name.clone();
            return Err(GgufError::OutOfFile { name, start, end, length });
        }
        tensor.bytes = start..end;
    }
    Ok(())
}

fn check_overlap(tensors: &[TensorEntry]) -> Result<(), GgufError> {
    let mut by_place: Vec<&TensorEntry> = tensors.iter().collect();
    by_place.sort_by_key(|tensor| tensor.bytes.start);
    for pair in by_place.windows(2) {
        if pair[0].bytes.end > pair[1].bytes.start {
            return Err(GgufError::Overlap {
                first: pair[0].name.clone(),
                second: pair[1].name.clone(),
                offset: pair[1].bytes.start,
            });
        }
    }
    Ok(())
}
