//! Metadata and tensors of a file, checked against what an architecture expects.

use std::collections::HashSet;

use candle_core::Tensor;
use engine_kernels::{QMatrix, WeightKind};
use engine_text::{GgufHeader, TensorEntry};

use super::{LoadError, LoadProgress};

/// Reads weights by name. Every tensor has to be asked for: one that nobody asks for would
/// change the results if it were understood.
pub(super) struct Weights<'a> {
    header: &'a GgufHeader,
    bytes: &'a [u8],
    read: HashSet<&'a str>,
    done: u64,
    progress: &'a mut dyn FnMut(LoadProgress),
}

impl<'a> Weights<'a> {
    /// Over the whole file's bytes.
    pub(super) fn new(
        header: &'a GgufHeader,
        bytes: &'a [u8],
        progress: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        // the digest has been computed by now
        let done = bytes.len() as u64;
        Self { header, bytes, read: HashSet::new(), done, progress }
    }

    /// A text in the metadata.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, LoadError> {
        self.header.text(key).ok_or_else(|| missing(key))
    }

    /// A count in the metadata: between 1 and `most`.
    pub(super) fn count(&self, key: &str, most: usize) -> Result<usize, LoadError> {
        let value = self.header.number(key).ok_or_else(|| missing(key))?;
        match usize::try_from(value) {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(metadata(key, value, "it is 0 or beyond all reason")),
        }
    }

    /// The same, or something else where the key is absent.
    pub(super) fn count_or(
        &self,
        key: &str,
        most: usize,
        otherwise: usize,
    ) -> Result<usize, LoadError> {
        if self.header.has(key) { self.count(key, most) } else { Ok(otherwise) }
    }

    /// A positive number in the metadata, or something else where the key is absent.
    pub(super) fn float_or(&self, key: &str, otherwise: f32) -> Result<f32, LoadError> {
        if !self.header.has(key) {
            return Ok(otherwise);
        }
        let value = self.header.float(key).ok_or_else(|| missing(key))?;
        let number = value as f32;
        if !number.is_normal() || number <= 0.0 {
            return Err(metadata(key, value, "it must be a positive number"));
        }
        Ok(number)
    }

    /// Refuses a file in which a key says anything but `neutral`: what it switches on is not
    /// implemented.
    pub(super) fn refuse_unless(&self, key: &str, neutral: &str) -> Result<(), LoadError> {
        let text = self.header.text(key).map(str::to_owned);
        let number = self.header.number(key).map(|number| number.to_string());
        match text.or(number) {
            Some(value) if value != neutral => Err(metadata(key, value, "it is not supported")),
            _ => Ok(()),
        }
    }

    /// Whether the file has a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.header.tensor(name).is_some()
    }

    /// Rows of a matrix that is `columns` wide, as the file has it.
    pub(super) fn rows_of(&self, name: &str) -> Result<usize, LoadError> {
        match self.entry(name)?.shape.get(1) {
            Some(rows) => Ok(*rows as usize),
            None => Ok(1),
        }
    }

    /// A matrix that maps `columns` values to `rows`.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<QMatrix, LoadError> {
        let (kind, bytes) = self.take(name, &[columns as u64, rows as u64])?;
        let matrix = QMatrix::from_ggml(kind, rows, columns, bytes);
        matrix.map_err(|source| LoadError::Weights { name: name.to_owned(), source })
    }

    /// A vector of so many values, as floats.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, LoadError> {
        let (kind, bytes) = self.take(name, &[length as u64])?;
        let row = QMatrix::from_ggml(kind, 1, length, bytes)
            .map_err(|source| LoadError::Weights { name: name.to_owned(), source })?;
        Ok(row.rows(&[0])?.reshape(length)?)
    }

    /// Checks that every tensor of the file was read.
    pub(super) fn finish(self) -> Result<(), LoadError> {
        let mut names = self.header.tensors().iter().map(|tensor| tensor.name.as_str());
        match names.find(|name| !self.read.contains(name)) {
            Some(name) => Err(LoadError::UnknownTensor { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn entry(&self, name: &str) -> Result<&'a TensorEntry, LoadError> {
        let entry = self.header.tensor(name);
        entry.ok_or_else(|| LoadError::MissingTensor { name: name.to_owned() })
    }

    fn take(&mut self, name: &str, shape: &[u64]) -> Result<(WeightKind, &'a [u8]), LoadError> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            let (name, found) = (name.to_owned(), entry.shape.clone());
            return Err(LoadError::Shape { name, found, expected: shape.to_vec() });
        }
        let kind = WeightKind::from_ggml_id(entry.kind.id())
            .map_err(|source| LoadError::Weights { name: name.to_owned(), source })?;
        let range = entry.bytes.start as usize..entry.bytes.end as usize;
        let bytes = self.bytes.get(range).expect("the header's ranges lie within the file");
        self.read.insert(&entry.name);
        self.done += bytes.len() as u64;
        let total = 2 * self.bytes.len() as u64;
        (self.progress)(LoadProgress { done: self.done, total });
        Ok((kind, bytes))
    }
}

fn missing(key: &str) -> LoadError {
    LoadError::Missing { key: key.to_owned() }
}

fn metadata(key: &str, value: impl ToString, expected: &'static str) -> LoadError {
    LoadError::Metadata { key: key.to_owned(), value: value.to_string(), expected }
}
