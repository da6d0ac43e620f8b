//! A folder of safetensors, as Hugging Face publishes models, told in the words of GGUF.
//!
//! `config.json`, `tokenizer.json` and what lies beside them become the keys that a GGUF file of the same
//! model has, so that everything behind this module knows one language. What has no such words is
//! refused: a guess would be another model.

mod config;
mod error;
mod tokenizer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use error::FolderError;
use serde::de::DeserializeOwned;

use crate::GgufHeader;
use crate::gguf::Value;

/// Ends of the names of files that matter.
const ENDS: [&str; 3] = [".json", ".safetensors", ".jinja"];

/// Files of a folder that make the model what it is, by name: all that end in `.json`, `.safetensors` or
/// `.jinja`, without those in folders below.
///
/// The digest of a folder is the SHA-256 of what `sha256sum` prints of these files in this order: a line
/// each, of the file's digest in hexadecimal, two spaces and its name. By hand:
///
/// ```sh
/// ls | grep -E '\.(json|safetensors|jinja)$' | LC_ALL=C sort | xargs sha256sum | sha256sum
/// ```
pub fn model_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // a link to a file is one: caches of Hugging Face are full of them
        if ENDS.iter().any(|end| name.ends_with(end)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
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
