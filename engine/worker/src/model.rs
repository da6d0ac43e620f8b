//! Models: one short file an architecture, over shared weights and kernels.

mod batch;
mod digest;
mod error;
mod file;
mod llama;
mod weights;

use std::path::Path;

use candle_core::Tensor;
use engine_kernels::Activations;
use engine_text::{GgufHeader, Tokenizer};

pub(crate) use batch::Batch;
pub use digest::LoadProgress;
pub use error::LoadError;
use file::MappedFile;
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

/// A model file that was read.
pub(crate) struct Loaded {
    pub(crate) model: Box<dyn Model>,
    pub(crate) tokenizer: Tokenizer,
    /// SHA-256 of the file.
    pub(crate) digest: [u8; 32],
}

/// Reads a GGUF file. What this build does not know exactly, it refuses by name.
pub(crate) fn load(
    path: &Path,
    activations: Activations,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    let file = MappedFile::open(path)?;
    let header = GgufHeader::parse(file.bytes(), file.bytes().len() as u64)?;
    let tokenizer = Tokenizer::from_gguf(&header)?;
    let digest = digest::sha256(file.bytes(), progress);
    let mut weights = Weights::new(&header, file.bytes(), progress);
    let model: Box<dyn Model> = match weights.text("general.architecture")? {
        "llama" => Box::new(llama::Llama::read(&mut weights, activations)?),
        other => return Err(LoadError::Architecture { name: other.to_owned() }),
    };
    weights.finish()?;
    if model.vocabulary() != tokenizer.vocabulary() {
        let (logits, tokens) = (model.vocabulary(), tokenizer.vocabulary());
        return Err(LoadError::Vocabulary { logits, tokens });
    }
    Ok(Loaded { model, tokenizer, digest })
}

#[cfg(test)]
mod tests;
