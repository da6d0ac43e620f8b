//! Why a model does not load.

use std::io;

use engine_kernels::{DeviceError, ThreadsError, WeightError};
use engine_text::{FolderError, GgufError, TokenizerError};

/// Each message is for the operator who starts the worker.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the model file")]
    File(#[source] io::Error),

    /// A device or something else that has no end.
    #[error("the model is neither a regular file nor a folder of them")]
    NotAFile,

    /// The file is not GGUF, or it is damaged.
    #[error("the model file is not sound")]
    Gguf(#[from] GgufError),

    /// What a worker that embeds was given.
    #[error("a model that embeds is a folder of a sentence-embedding model, and this is none")]
    NoEncoder,

    /// A folder of something else than a sentence-embedding model as it is implemented here.
    #[error("cannot use the folder as a sentence-embedding model")]
    Encoder(#[source] FolderError),

    /// A file that a folder should have.
    #[error("the model's folder has no {name}")]
    MissingFile {
        /// The file.
        name: String,
    },

    /// A file of tensors is damaged.
    #[error("{file} is not sound")]
    Safetensors {
        /// The file.
        file: String,
        /// Why.
        source: safetensors::SafeTensorError,
    },

    /// The list of shards makes no sense.
    #[error("{file} is not sound: {reason}")]
    Index {
        /// The file.
        file: &'static str,
        /// Why.
        reason: String,
    },

    /// Two shards have one tensor.
    #[error("tensor `{name}` is in two files")]
    Twice {
        /// Its name.
        name: String,
    },

    /// A tensor that is no 16-bit or 32-bit float.
    #[error("tensor `{name}` has the type {dtype}; this build reads F32, F16 and BF16")]
    Dtype {
        /// Its name.
        name: String,
        /// Its type, as safetensors calls it.
        dtype: String,
    },

    /// The tokenizer in the file cannot be rebuilt exactly.
    #[error("cannot build the tokenizer")]
    Tokenizer(#[from] TokenizerError),

    /// A family of models that this build has no code for.
    #[error(
        "architecture `{name}` is not supported; this build runs: llama, qwen2, qwen3, gemma3, phi3"
    )]
    Architecture {
        /// The file's `general.architecture`.
        name: String,
    },

    /// Metadata that the architecture needs.
    #[error("metadata key `{key}` is missing or of another type")]
    Missing {
        /// Its name.
        key: String,
    },

    /// Metadata that makes no sense or asks for what is not implemented.
    #[error("metadata key `{key}` is {value}: {expected}")]
    Metadata {
        /// Its name.
        key: String,
        /// What the file says.
        value: String,
        /// What would do.
        expected: &'static str,
    },

    /// A tensor that the architecture needs.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },

    /// A tensor that the architecture does not have: the model would not be what the file
    /// describes.
    #[error("tensor `{name}` does not belong to this architecture as it is implemented here")]
    UnknownTensor {
        /// Its name.
        name: String,
    },

    /// A tensor of another shape.
    #[error("tensor `{name}` has the shape {found:?}, not {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The file's shape, innermost first.
        found: Vec<u64>,
        /// The shape that the metadata asks for.
        expected: Vec<u64>,
    },

    /// A tensor that no kernel reads.
    #[error("cannot use tensor `{name}`")]
    Weights {
        /// Its name.
        name: String,
        /// Why.
        source: WeightError,
    },

    /// Head and tokenizer disagree.
    #[error("the model has {logits} logits, but its tokenizer has {tokens} tokens")]
    Vocabulary {
        /// Width of the logits.
        logits: u32,
        /// Size of the vocabulary.
        tokens: u32,
    },

    /// The budget of KV memory is too small to be useful.
    #[error(
        "{kv_bytes} bytes of KV memory do not hold one context of {context} tokens; give at \
         least {needed}"
    )]
    CacheTooSmall {
        /// The budget.
        kv_bytes: u64,
        /// Longest sequence of the model, in tokens.
        context: u32,
        /// Bytes that one context takes.
        needed: u64,
    },

    /// A tensor could not be made.
    #[error("cannot allocate tensors")]
    Allocate(#[from] candle_core::Error),

    /// The device is not there, or not in this build.
    #[error("cannot use the device")]
    Device(#[source] DeviceError),

    /// A thread that helps with loading did not start.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),

    /// The threads of the kernels did not start.
    #[error("cannot start the threads of the kernels")]
    Threads(#[source] ThreadsError),

    /// A setting that must be positive.
    #[error("`{name}` is 0; give at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
}
