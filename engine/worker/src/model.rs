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
mod packed;
mod phi3;
mod qwen2;
mod qwen3;
mod rotation;
mod sizes;
mod source;
mod weights;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;

use candle_core::Tensor;
use engine_kernels::{Activations, DeviceName};
use engine_text::{GgufHeader, Tokenizer, model_files};

pub(crate) use batch::Batch;
use decoder::Decoder;
pub use digest::LoadProgress;
use digest::Meter;
pub(crate) use digest::{Digest, of_folder as folder_digest};
pub use error::LoadError;
pub(crate) use file::MappedFile;
use folder::FolderSource;
use gguf::GgufSource;
pub use packed::PackedDir;
pub(crate) use packed::Save;
use packed::{Packed, Packing};
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
    pub(crate) digest: Digest,
    /// Packed weights that the next start could use.
    pub(crate) save: Option<Save>,
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

/// Without packed weights.
#[cfg(test)]
pub(crate) fn load(
    path: &Path,
    setup: Setup,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    load_packed(path, setup, None, progress)
}

/// Reads a GGUF file, or a folder of safetensors. What this build does not know exactly, it refuses
/// by name. Where `packed` has the weights, the model file is read for the rest alone.
pub(crate) fn load_packed(
    path: &Path,
    setup: Setup,
    packed: Option<&PackedDir>,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    // a GPU takes the weights as the file has them
    let packed = packed.filter(|_| setup.device == DeviceName::Cpu);
    if let Some(dir) = packed
        && let Some(found) = dir.find(progress)
    {
        match read_path(path, setup, Packing::of(found), progress)? {
            (loaded, Packed::Done) => return Ok(loaded),
            (loaded, Packed::New(kept, head)) => {
                return Ok(Loaded { save: Some(dir.save(kept, head)), ..loaded });
            }
            (_, Packed::Foreign) => dir.ignore("the model file has another head"),
        }
    }
    let packing = Packing::new(packed.is_some());
    let (loaded, came) = read_path(path, setup, packing, progress)?;
    // what was packed of another file than the one that is asked for is of no use to anyone
    let right = packed.filter(|dir| dir.model.0 == loaded.digest);
    let save = match (right, came) {
        (Some(dir), Packed::New(kept, head)) => Some(dir.save(kept, head)),
        _ => None,
    };
    Ok(Loaded { save, ..loaded })
}

fn read_path(
    path: &Path,
    setup: Setup,
    packing: Packing,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Loaded, Packed), LoadError> {
    match path.is_dir() {
        true => read_folder(path, setup, packing, progress),
        false => read_file(path, setup, packing, progress),
    }
}

fn read_file(
    path: &Path,
    setup: Setup,
    mut packing: Packing,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Loaded, Packed), LoadError> {
    let file = MappedFile::open(path)?;
    let header = GgufHeader::parse(file.bytes(), file.bytes().len() as u64)?;
    let tensors = header.tensors().iter().map(|tensor| tensor.bytes.start as usize);
    packing.see(&file.bytes()[..tensors.min().unwrap_or(0)]);
    let source = GgufSource::new(&header, &file);
    let hash = |hashed: &Sender<u64>| digest::of_file(file.file(), hashed);
    read_source(&source, &header, hash, (setup, packing), progress)
}

fn read_folder(
    folder: &Path,
    setup: Setup,
    mut packing: Packing,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Loaded, Packed), LoadError> {
    let header = GgufHeader::read(folder)?;
    let shards = folder::shards(folder)?;
    let names = model_files(folder).map_err(LoadError::File)?;
    let mapped: Vec<MappedFile> =
        names.iter().map(|name| MappedFile::open(&folder.join(name))).collect::<Result<_, _>>()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (name, file) in names.iter().zip(&mapped) {
        packing.see(name.as_bytes());
        packing.see(folder::head_of(name, file.bytes()));
    }
    // what is read was in the digest
    let shard = |path: &std::path::PathBuf| {
        let shard = names.iter().position(|file| *file == name(path));
        let shard = shard.ok_or_else(|| LoadError::MissingFile { name: name(path) })?;
        Ok((names[shard].clone(), mapped[shard].bytes()))
    };
    let shards: Vec<_> = shards.iter().map(shard).collect::<Result<_, LoadError>>()?;
    let source = FolderSource::new(&header, &shards, &mapped)?;
    let files: Vec<_> = names.iter().cloned().zip(mapped.iter().map(MappedFile::file)).collect();
    let hash = |hashed: &Sender<u64>| digest::of_folder(&files, hashed);
    read_source(&source, &header, hash, (setup, packing), progress)
}

/// Reads weights here, while other threads build the tokenizer and, where nothing was packed,
/// hash the files.
fn read_source(
    source: &dyn Source,
    header: &GgufHeader,
    hash: impl FnOnce(&Sender<u64>) -> std::io::Result<Digest> + Send,
    (setup, packing): (Setup, Packing),
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Loaded, Packed), LoadError> {
    let device = setup.device.open().map_err(LoadError::Device)?;
    let known = packing.model();
    let (hashed, heard) = mpsc::channel();
    let mut meter = Meter::new(source.bytes(), heard, progress);
    thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let tokenizer = spawn("tokenizer").spawn_scoped(scope, || Tokenizer::from_gguf(header));
        let tokenizer = tokenizer.map_err(LoadError::Thread)?;
        let hashing = match known {
            None => Some(spawn("digest").spawn_scoped(scope, move || hash(&hashed))),
            Some(_) => {
                // the packed weights were checked instead
                drop(hashed);
                meter.add(source.bytes());
                None
            }
        };
        let hashing = hashing.transpose().map_err(LoadError::Thread)?;
        let mut weights = Weights::new(source, &device, meter, packing);
        let model = read(&mut weights, setup).and_then(|model| Ok((model, weights.finish()?)));
        let tokenizer = joined(tokenizer)?;
        let (model, (mut meter, packing)) = model?;
        meter.wait();
        let digest = match hashing {
            Some(hashing) => joined(hashing).map_err(LoadError::File)?,
            None => known.expect("what is not hashed is known"),
        };
        if model.vocabulary() != tokenizer.vocabulary() {
            let (logits, tokens) = (model.vocabulary(), tokenizer.vocabulary());
            return Err(LoadError::Vocabulary { logits, tokens });
        }
        let loaded = Loaded { model: Box::new(model), tokenizer, digest, save: None };
        Ok((loaded, packing.finish()))
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
