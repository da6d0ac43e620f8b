//! Repacked weights on disk, so that the next start maps them instead of packing them again.
//!
//! A file is made from one model and one version of the layout, and is named after both. It is
//! written beside its place and renamed when it is complete. Nothing of it is used before its
//! digest is right: what is torn, foreign or open to others is ignored, said, and written anew.
//! Workers of one model map one file, whose pages they share.

mod folder;
mod format;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use engine_kernels::{PackedPart, QMatrix, SharedBytes, WeightKind};

pub use folder::PackedDir;
pub(crate) use folder::Save;

use super::digest::{self, Digest};
use super::file::MappedFile;

/// Which rows of which tensor a matrix is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    /// The tensor's name, in the words of GGUF.
    pub(super) name: String,
    /// Its first row.
    pub(super) first: usize,
    /// How many rows.
    pub(super) rows: usize,
    /// Their width.
    pub(super) columns: usize,
    /// How the model file has them.
    pub(super) kind: WeightKind,
}

/// A file of packed weights whose digest was right.
pub(super) struct PackedFile {
    map: Arc<MappedFile>,
    /// SHA-256 of the model that it was made from.
    model: Digest,
    /// Digest of what a model file has beside its matrices.
    head: Digest,
    /// Where each matrix is: its first byte and its length.
    places: HashMap<Place, (usize, usize)>,
}

/// A matrix that may be written.
pub(super) struct Kept {
    place: Place,
    parts: Vec<PackedPart>,
}

/// What a load finds packed, and what it packs.
pub(super) struct Packing {
    found: Option<PackedFile>,
    /// Whether anything is to be written.
    writes: bool,
    kept: Vec<Kept>,
    /// Of everything in the model file but its matrices.
    head: Context,
}

/// What came of a load.
pub(super) enum Packed {
    /// All matrices were found, or nothing is to be written.
    Done,
    /// These are to be written.
    New(Vec<Kept>, Digest),
    /// What was found was made from another model, whatever it says.
    Foreign,
}

impl Packing {
    /// Packs everything; what is packed is kept for writing where it `writes`.
    pub(super) fn new(writes: bool) -> Self {
        Self { found: None, writes, kept: Vec::new(), head: Context::new(&SHA256) }
    }

    /// Takes matrices from a file.
    pub(super) fn of(found: PackedFile) -> Self {
        Self { found: Some(found), ..Self::new(true) }
    }

    /// SHA-256 of the model whose matrices were found.
    pub(super) fn model(&self) -> Option<Digest> {
        self.found.as_ref().map(|found| found.model)
    }

    /// Something of the model file that is no matrix is read from the file itself.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        self.head.update(&(bytes.len() as u64).to_le_bytes());
        self.head.update(bytes);
    }

    /// A matrix as it was found.
    pub(super) fn get(&self, place: &Place) -> Option<QMatrix> {
        let found = self.found.as_ref()?;
        let (start, length) = *found.places.get(place)?;
        let bytes = SharedBytes::new(found.map.clone(), start..start + length)?;
        let matrix = QMatrix::from_packed(place.kind, place.rows, place.columns, bytes);
        matrix.inspect_err(|error| tracing::warn!(%error, name = place.name, "packed anew")).ok()
    }

    /// Keeps a matrix for writing; that costs no memory.
    pub(super) fn keep(&mut self, place: Place, matrix: &QMatrix) {
        if self.writes
            && let Some(parts) = matrix.packed()
        {
            self.kept.push(Kept { place, parts });
        }
    }

    /// Ends a load.
    pub(super) fn finish(self) -> Packed {
        let Self { found, writes, kept, head } = self;
        let head = digest::finish(head);
        match found {
            Some(found) if found.head != head => Packed::Foreign,
            Some(found) if kept.iter().all(|kept| found.places.contains_key(&kept.place)) => {
                Packed::Done
            }
            _ if writes => Packed::New(kept, head),
            _ => Packed::Done,
        }
    }
}

#[cfg(test)]
mod tests;
