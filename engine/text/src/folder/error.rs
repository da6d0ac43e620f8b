//! What can be wrong with a folder of safetensors.

use std::io;

/// Every variant names the file, and the place in it.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file that every such folder has.
    #[error("the model's folder has no {name}")]
    Missing {
        /// The file.
        name: &'static str,
    },

    /// The operating system said no.
    #[error("cannot read {name}")]
    Read {
        /// The file.
        name: &'static str,
        /// Why.
        source: io::Error,
    },

    /// Beyond all reason.
    #[error("{name} has {bytes} bytes, at most {limit} are accepted")]
    TooLong {
        /// The file.
        name: &'static str,
        /// Its length.
        bytes: u64,
        /// What we take.
        limit: u64,
    },

    /// Not JSON, or not with the fields that belong there.
    #[error("{name} is not what it should be")]
    Json {
        /// The file.
        name: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },

    /// A setting that asks for what is not implemented, or makes no sense.
    #[error("config.json: `{key}` is {value}: {expected}")]
    Config {
        /// Its name.
        key: String,
        /// What the file says.
        value: String,
        /// What would do.
        expected: &'static str,
    },

    /// A module of a sentence-embedding model that computes something else than is done here.
    #[error("{file}: {found} is not supported: {expected}")]
    Module {
        /// The file that asks for it.
        file: String,
        /// What it says.
        found: String,
        /// What would do.
        expected: &'static str,
    },

    /// A rule of the tokenizer that is not known exactly.
    #[error("tokenizer.json: {part} {found} is not supported: {expected}")]
    Tokenizer {
        /// Which part of it.
        part: &'static str,
        /// What the file says.
        found: String,
        /// What would do.
        expected: &'static str,
    },
}
