//! Models: one short file an architecture, over shared weights and kernels.

mod attention;
mod batch;
mod decoder;
mod design;
mod digest;
mod error;
mod feed_forward;
mod file;
mod folder;
mod gemma3;
mod gguf;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;
mod rotation;
mod sizes;
mod source;
mod weights;

use std::num::NonZeroU32;
use std::path::Path;

use candle_core::Tensor;
use engine_kernels::{Activations, DeviceName};
use engine_text::{GgufHeader, Tokenizer, model_files};

pub(crate) use batch::Batch;
use decoder::Decoder;
pub use digest::LoadProgress;
pub use error::LoadError;
use file::MappedFile;
use folder::FolderSource;
use gguf::GgufSource;
use source::Source;
use weights::Weights;

use crate::kv::{CacheShape, KvCache};

/// An architecture with its weights.
pub(crate) trait Model: Send + Sync {
    /// What it keeps of each position.
    fn cache_shape(&self) -> CacheShape;

    /// Width of the logits.
    fn vocabulary(&self) -> u32;

    /// Writes keys and values of every row of the batch to the cache, and gives the logits of
    /// its drawn rows: (drawn, vocabulary). A row's logits depend on the row and what its
    /// sequence has in the cache, and on nothing else.
    fn forward(&self, batch: &Batch, cache: &KvCache) -> candle_core::Result<Tensor>;
}

/// A model that was read.
pub(crate) struct Loaded {
    pub(crate) model: Box<dyn Model>,
    pub(crate) tokenizer: Tokenizer,
    /// SHA-256 of the file, or of a folder's files.
    pub(crate) digest: [u8; 32],
}

/// How to read a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Where the weights go.
    pub(crate) device: DeviceName,
    /// In which form activations meet quantized weights.
    pub(crate) activations: Activations,
    /// Longest sequence, where it shall be shorter than what the model was made for.
    pub(crate) context_max: Option<NonZeroU32>,
}

/// Reads a GGUF file, or a folder of safetensors. What this build does not know exactly, it refuses
/// by name.
pub(crate) fn load(
    path: &Path,
    setup: Setup,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    if path.is_dir() {
        return load_folder(path, setup, progress);
    }
    let file = MappedFile::open(path)?;
    let header = GgufHeader::parse(file.bytes(), file.bytes().len() as u64)?;
    let tokenizer = Tokenizer::from_gguf(&header)?;
    let digest = digest::sha256(file.bytes(), progress);
    let source = GgufSource::new(&header, file.bytes());
    finish(&source, tokenizer, digest, setup, progress)
}

fn load_folder(
    folder: &Path,
    setup: Setup,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    let header = GgufHeader::read(folder)?;
    let tokenizer = Tokenizer::from_gguf(&header)?;
    let shards = folder::shards(folder)?;
    let paths = model_files(folder).map_err(LoadError::File)?;
    let mapped: Vec<MappedFile> =
        paths.iter().map(|path| MappedFile::open(path)).collect::<Result<_, _>>()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files: Vec<(String, &[u8])> =
        paths.iter().zip(&mapped).map(|(path, file)| (name(path), file.bytes())).collect();
    let digest = digest::of_folder(&files, progress);
    let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    // what is read was in the digest
    let shard = |path: &std::path::PathBuf| {
        let shard = files.iter().find(|(file, _)| *file == name(path));
        shard.cloned().ok_or_else(|| LoadError::MissingFile { name: name(path) })
    };
    let shards: Vec<_> = shards.iter().map(shard).collect::<Result<_, _>>()?;
    let source = FolderSource::new(&header, &shards, bytes)?;
    finish(&source, tokenizer, digest, setup, progress)
}

fn finish(
    source: &dyn Source,
    tokenizer: Tokenizer,
    digest: [u8; 32],
    setup: Setup,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    let device = setup.device.open().map_err(LoadError::Device)?;
    let mut weights = Weights::new(source, &device, progress);
    let model = read(&mut weights, setup)?;
    weights.finish()?;
    if model.vocabulary() != tokenizer.vocabulary() {
        let (logits, tokens) = (model.vocabulary(), tokenizer.vocabulary());
        return Err(LoadError::Vocabulary { logits, tokens });
    }
    Ok(Loaded { model: Box::new(model), tokenizer, digest })
}

/// Reads the model of any architecture.
fn read(weights: &mut Weights<'_>, setup: Setup) -> Result<Decoder, LoadError> {
    match weights.source().architecture()? {
        "llama" => llama::read(weights, setup),
        "qwen2" => qwen2::read(weights, setup),
        "qwen3" => qwen3::read(weights, setup),
        "gemma3" => gemma3::read(weights, setup),
        "phi3" => phi3::read(weights, setup),
        other => Err(LoadError::Architecture { name: other.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
