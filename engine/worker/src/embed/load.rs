//! An encoder's folder: files, their digest, and their tensors.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use candle_core::Tensor;
use engine_kernels::{QMatrix, WeightKind};
use engine_text::{EncoderConfig, model_files, read_encoder};
use safetensors::{Dtype, SafeTensors};

use super::encoder::Encoder;
use crate::model::{Digest, LoadError, LoadProgress, MappedFile, folder_digest};

/// The file of all weights.
const WEIGHTS: &str = "model.safetensors";
/// Tensors that vectors do not depend on: the numbers of the positions, and a head for training.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"];

/// Reads a folder; gives its digest too.
pub(super) fn load(
    folder: &Path,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Encoder, Digest), LoadError> {
    if !folder.is_dir() {
        return Err(LoadError::NoEncoder);
    }
    let names = model_files(folder).map_err(LoadError::File)?;
    let files: Vec<MappedFile> =
        names.iter().map(|name| MappedFile::open(&folder.join(name))).collect::<Result<_, _>>()?;
    let total: u64 = files.iter().map(|file| file.bytes().len() as u64).sum();
    progress(LoadProgress { done: 0, total });
    let weights = names.iter().position(|name| name == WEIGHTS);
    let weights = weights.ok_or_else(|| LoadError::MissingFile { name: WEIGHTS.to_owned() })?;
    let (config, _) = read_encoder(folder).map_err(LoadError::Encoder)?;
    thread::scope(|scope| {
        let hashing = thread::Builder::new().name("digest".into()).spawn_scoped(scope, || {
            let files: Vec<_> =
                names.iter().cloned().zip(files.iter().map(MappedFile::file)).collect();
            // nobody counts its bytes
            folder_digest(&files, &mpsc::channel().0)
        });
        let hashing = hashing.map_err(LoadError::Thread)?;
        let encoder = read(&files[weights], config);
        let digest = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        progress(LoadProgress { done: total, total });
        Ok((encoder?, digest.map_err(LoadError::File)?))
    })
}

fn read(file: &MappedFile, config: EncoderConfig) -> Result<Encoder, LoadError> {
    let parsed = SafeTensors::deserialize(file.bytes())
        .map_err(|source| LoadError::Safetensors { file: WEIGHTS.to_owned(), source })?;
    let mut tensors = Tensors { file, parsed: &parsed, read: HashSet::new() };
    let encoder = Encoder::read(&mut tensors, config)?;
    tensors.finish()?;
    Ok(encoder)
}

/// Tensors by name. Every one has to be asked for: one that nobody asks for would change the results if it
/// were understood.
pub(super) struct Tensors<'a> {
    file: &'a MappedFile,
    parsed: &'a SafeTensors<'a>,
    read: HashSet<String>,
}

impl Tensors<'_> {
    /// A matrix that maps `columns` values to `rows`, or a table of `rows`.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<QMatrix, LoadError> {
        self.take(name, &[rows, columns], rows, columns)
    }

    /// A vector of so many values, as floats.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, LoadError> {
        Ok(self.take(name, &[length], 1, length)?.rows(&[0])?.reshape(length)?)
    }

    fn take(
        &mut self,
        name: &str,
        shape: &[usize],
        rows: usize,
        columns: usize,
    ) -> Result<QMatrix, LoadError> {
        let name = name.to_owned();
        let Ok(tensor) = self.parsed.tensor(&name) else {
            return Err(LoadError::MissingTensor { name });
        };
        let kind = match tensor.dtype() {
            Dtype::F32 => WeightKind::F32,
            Dtype::F16 => WeightKind::F16,
            Dtype::BF16 => WeightKind::BF16,
            other => return Err(LoadError::Dtype { name, dtype: other.to_string() }),
        };
        if tensor.shape() != shape {
            let innermost_first = |shape: &[usize]| shape.iter().rev().map(|n| *n as u64).collect();
            let (found, expected) = (innermost_first(tensor.shape()), innermost_first(shape));
            return Err(LoadError::Shape { name, found, expected });
        }
        let matrix = QMatrix::from_ggml(kind, rows, columns, tensor.data());
        let matrix = matrix.map_err(|source| LoadError::Weights { name: name.clone(), source })?;
        self.file.release(tensor.data());
        self.read.insert(name);
        Ok(matrix)
    }

    fn finish(self) -> Result<(), LoadError> {
        let is_known = |name: &str| self.read.contains(name) || UNUSED.contains(&name);
        let mut names = self.parsed.names().into_iter();
        match names.find(|name| !is_known(name)) {
            Some(name) => Err(LoadError::UnknownTensor { name: name.to_string() }),
            None => Ok(()),
        }
    }
}
