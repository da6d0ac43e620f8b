//! A folder of safetensors, as Hugging Face publishes models, told in the words of GGUF.
//!
//! `config.json`, `tokenizer.json` and what lies beside them become the keys that a GGUF file of the same
//! model has, so that everything behind this module knows one language. What has no such words is
//! refused: a guess would be another model.

mod config;
mod encoder;
mod error;
mod tokenizer;
mod word_pieces;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

pub use encoder::EncoderConfig;
pub use error::FolderError;
use serde::de::DeserializeOwned;

use crate::gguf::Value;
use crate::{GgufHeader, WordPieces};

/// Ends of the names of files that matter.
const ENDS: [&str; 3] = [".json", ".safetensors", ".jinja"];

/// Whether a file makes a model what it is, by its path in the model's folder: what ends in `.json`,
/// `.safetensors` or `.jinja`, and the `config.json` of a module of a sentence-embedding model, in a folder
/// named for its number (`1_Pooling`).
pub fn is_model_file(path: &str) -> bool {
    match path.split_once('/') {
        None => ENDS.iter().any(|end| path.ends_with(end)),
        Some((module, file)) => is_module(module) && file == MODULE_FILE,
    }
}

/// What a module's folder holds.
const MODULE_FILE: &str = "config.json";

fn is_module(folder: &str) -> bool {
    matches!(folder.as_bytes(), [number, b'_', ..] if number.is_ascii_digit())
}

/// Files of a folder that make the model what it is ([`is_model_file`]), by their paths in it, in order.
///
/// The digest of a folder is the SHA-256 of what `sha256sum` prints of these files in this order: a line
/// each, of the file's digest in hexadecimal, two spaces and its path. By hand:
///
/// ```sh
/// ls -d * [0-9]_*/config.json | grep -E '\.(json|safetensors|jinja)$' | LC_ALL=C sort | xargs sha256sum | sha256sum
/// ```
pub fn model_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // a link to a file is one: caches of Hugging Face are full of them
        let file = if is_module(name) { format!("{name}/{MODULE_FILE}") } else { name.to_owned() };
        if is_model_file(&file) && folder.join(&file).is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Sizes and tokenizer of a folder that holds a sentence-embedding model. What is not known exactly is
/// refused by name.
pub fn read_encoder(folder: &Path) -> Result<(EncoderConfig, WordPieces), FolderError> {
    let config = EncoderConfig::read(folder)?;
    let pieces = word_pieces::build(read_json(folder, "tokenizer.json")?)?;
    let tokens = pieces.vocabulary();
    if tokens as usize > config.vocabulary {
        let found = format!("with {tokens} tokens");
        let expected = "the model has fewer embeddings (`vocab_size` in config.json)";
        return Err(FolderError::Tokenizer { part: "vocabulary", found, expected });
    }
    Ok((config, pieces))
}

/// The keys, without any tensors.
pub(crate) fn read(folder: &Path) -> Result<GgufHeader, FolderError> {
    let config: serde_json::Value = read_json(folder, "config.json")?;
    let mut entries = HashMap::new();
    config::translate(&config, &mut entries)?;
    let raw = read_json(folder, "tokenizer.json")?;
    tokenizer::translate(raw, &config, &mut entries)?;
    let generation: Option<serde_json::Value> = read_if_any(folder, "generation_config.json")?;
    config::end_tokens(&config, generation.as_ref(), &mut entries)?;
    if let Some(template) = template(folder)? {
        entries.insert("tokenizer.chat_template".to_owned(), Value::Text(template));
    }
    Ok(GgufHeader::of_entries(entries))
}

fn template(folder: &Path) -> Result<Option<String>, FolderError> {
    if let Some(template) = read_text(folder, "chat_template.jinja")? {
        return Ok(Some(template));
    }
    let config: Option<serde_json::Value> = read_if_any(folder, "tokenizer_config.json")?;
    let Some(template) = config.as_ref().and_then(|config| config.get("chat_template")) else {
        return Ok(None);
    };
    // several templates are a list of names and texts
    let named = template.as_array().into_iter().flatten().find(|one| one["name"] == "default");
    let text = template.as_str().or_else(|| named?["template"].as_str());
    Ok(text.map(str::to_owned))
}

fn read_json<T: DeserializeOwned>(folder: &Path, name: &'static str) -> Result<T, FolderError> {
    read_if_any(folder, name)?.ok_or(FolderError::Missing { name })
}

fn read_if_any<T: DeserializeOwned>(
    folder: &Path,
    name: &'static str,
) -> Result<Option<T>, FolderError> {
    let parse = |text: String| serde_json::from_str(&text);
    let parsed = read_text(folder, name)?.map(parse).transpose();
    parsed.map_err(|source| FolderError::Json { name, source })
}

/// The most that a file beside the weights may have: an order above the largest tokenizers.
const TEXT_BYTES_MAX: u64 = 256 << 20;

fn read_text(folder: &Path, name: &'static str) -> Result<Option<String>, FolderError> {
    let path = folder.join(name);
    let failed = |source| FolderError::Read { name, source };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(metadata) if metadata.len() > TEXT_BYTES_MAX => {
            Err(FolderError::TooLong { name, bytes: metadata.len(), limit: TEXT_BYTES_MAX })
        }
        Ok(_) => fs::read_to_string(&path).map(Some).map_err(failed),
    }
}
