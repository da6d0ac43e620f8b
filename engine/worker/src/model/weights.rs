//! Metadata and tensors, checked against what an architecture expects.

use std::collections::HashSet;
use std::ops::Range;

use candle_core::{Device, Tensor};
use engine_kernels::QMatrix;

use super::LoadError;
use super::digest::Meter;
use super::packed::{Packing, Place};
use super::source::{Found, Source};

/// Reads weights by name. Every tensor has to be asked for: one that nobody asks for would
/// change the results if it were understood.
pub(super) struct Weights<'a> {
    source: &'a dyn Source,
    /// Where the weights go.
    device: &'a Device,
    read: HashSet<String>,
    meter: Meter<'a>,
    packing: Packing,
}

impl<'a> Weights<'a> {
    /// Over a source, whose matrices may have been packed before.
    pub(super) fn new(
        source: &'a dyn Source,
        device: &'a Device,
        meter: Meter<'a>,
        packing: Packing,
    ) -> Self {
        Self { source, device, read: HashSet::new(), meter, packing }
    }

    /// Where the weights come from.
    pub(super) fn source(&self) -> &'a dyn Source {
        self.source
    }

    /// A text in the metadata.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.source.text(key)
    }

    /// A count in the metadata: between 1 and `most`.
    pub(super) fn count(&self, key: &str, most: usize) -> Result<usize, LoadError> {
        let value = self.source.number(key).ok_or_else(|| self.missing(key))?;
        match usize::try_from(value) {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(self.wrong(key, value, "it is 0 or beyond all reason")),
        }
    }

    /// The same, or something else where the key is absent.
    pub(super) fn count_or(
        &self,
        key: &str,
        most: usize,
        otherwise: usize,
    ) -> Result<usize, LoadError> {
        if self.source.has(key) { self.count(key, most) } else { Ok(otherwise) }
    }

    /// A positive number in the metadata.
    pub(super) fn float(&self, key: &str) -> Result<f32, LoadError> {
        let value = self.source.float(key).ok_or_else(|| self.missing(key))?;
        let number = value as f32;
        if !number.is_normal() || number <= 0.0 {
            return Err(self.wrong(key, value, "it must be a positive number"));
        }
        Ok(number)
    }

    /// The same, or something else where the key is absent.
    pub(super) fn float_or(&self, key: &str, otherwise: f32) -> Result<f32, LoadError> {
        if self.source.has(key) { self.float(key) } else { Ok(otherwise) }
    }

    /// The same, or nothing where the key is absent or 0.
    pub(super) fn float_if_any(&self, key: &str) -> Result<Option<f32>, LoadError> {
        match self.source.has(key) && self.source.float(key) != Some(0.0) {
            true => self.float(key).map(Some),
            false => Ok(None),
        }
    }

    /// Refuses a file in which a key says anything but `neutral`: what it switches on is not
    /// implemented.
    pub(super) fn refuse_unless(&self, key: &str, neutral: &str) -> Result<(), LoadError> {
        let text = self.source.text(key).map(str::to_owned);
        let number = self.source.float(key).map(|number| number.to_string());
        match text.or(number) {
            Some(value) if value != neutral => Err(self.wrong(key, value, "it is not supported")),
            _ => Ok(()),
        }
    }

    /// A value that makes no sense.
    pub(super) fn wrong(
        &self,
        key: &str,
        value: impl ToString,
        expected: &'static str,
    ) -> LoadError {
        LoadError::Metadata { key: self.source.key_name(key), value: value.to_string(), expected }
    }

    /// Whether the file has a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        // one of a type that no kernel reads is there, and is refused when it is read
        !matches!(self.source.tensor(name), Ok(None))
    }

    /// Rows of a matrix, as the file has it.
    pub(super) fn rows_of(&self, name: &str) -> Result<usize, LoadError> {
        Ok(self.find(name)?.shape.get(1).map_or(1, |rows| *rows as usize))
    }

    /// A matrix that maps `columns` values to `rows`.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<QMatrix, LoadError> {
        self.rows(name, rows, columns, 0..rows)
    }

    /// Some rows of a matrix of `all` rows, as a matrix of their own.
    pub(super) fn rows(
        &mut self,
        name: &str,
        all: usize,
        columns: usize,
        part: Range<usize>,
    ) -> Result<QMatrix, LoadError> {
        let Found { kind, bytes, .. } = self.take(name, &[columns as u64, all as u64])?;
        // rows of every kind are whole blocks, or the whole would not be sound
        let row = bytes.len() / all;
        let part_bytes = &bytes[part.start * row..part.end * row];
        let (first, rows) = (part.start, part.len());
        let place = Place { name: name.to_owned(), first, rows, columns, kind };
        let matrix = match self.packing.get(&place) {
            Some(matrix) => matrix,
            None => {
                let matrix =
                    QMatrix::on_device(self.device, kind, rows, columns, part_bytes).map_err(
                        |source| LoadError::Weights { name: self.source.tensor_name(name), source },
                    )?;
                self.source.release(part_bytes);
                matrix
            }
        };
        self.packing.keep(place, &matrix);
        Ok(matrix)
    }

    /// A vector of so many values, as floats.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, LoadError> {
        let Found { kind, bytes, .. } = self.take(name, &[length as u64])?;
        self.packing.see(bytes);
        let row = QMatrix::on_device(self.device, kind, 1, length, bytes)
            .map_err(|source| LoadError::Weights { name: self.source.tensor_name(name), source })?;
        Ok(row.rows(&[0])?.reshape(length)?)
    }

    /// The weights of a norm.
    pub(super) fn norm(&mut self, name: &str, length: usize) -> Result<Tensor, LoadError> {
        let weights = self.vector(name, length)?;
        match self.source.norm_offset() {
            0.0 => Ok(weights),
            offset => Ok((weights + offset)?),
        }
    }

    /// Checks that every tensor of the file was read.
    pub(super) fn finish(self) -> Result<(Meter<'a>, Packing), LoadError> {
        let names = self.source.tensor_names();
        match names.into_iter().find(|name| !self.read.contains(*name)) {
            Some(name) => Err(LoadError::UnknownTensor { name: name.to_owned() }),
            None => Ok((self.meter, self.packing)),
        }
    }

    fn find(&self, name: &str) -> Result<Found<'a>, LoadError> {
        let missing = || LoadError::MissingTensor { name: self.source.tensor_name(name) };
        self.source.tensor(name)?.ok_or_else(missing)
    }

    fn take(&mut self, name: &str, shape: &[u64]) -> Result<Found<'a>, LoadError> {
        let found = self.find(name)?;
        let name = self.source.tensor_name(name);
        if found.shape != shape {
            let expected = shape.to_vec();
            return Err(LoadError::Shape { name, found: found.shape, expected });
        }
        // parts of one matrix are read in several turns
        let bytes = if self.read.insert(name) { found.bytes.len() as u64 } else { 0 };
        self.meter.add(bytes);
        Ok(found)
    }

    fn missing(&self, key: &str) -> LoadError {
        LoadError::Missing { key: self.source.key_name(key) }
    }
}
