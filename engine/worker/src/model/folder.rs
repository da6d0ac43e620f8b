//! A folder of safetensors as a source: `model.safetensors`, or the shards that
//! `model.safetensors.index.json` lists. `config.json` has been read into a head.

mod names;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use engine_kernels::WeightKind;
use engine_text::GgufHeader;
use safetensors::{Dtype, SafeTensors};

use super::LoadError;
use super::file::MappedFile;
use super::source::{Found, Source};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// LongRoPE's lists, which are settings here and tensors in GGUF.
const FACTORS: [(&str, &str); 2] = [
    ("rope_factors_long.weight", "rope.scaling.long_factor"),
    ("rope_factors_short.weight", "rope.scaling.short_factor"),
];

/// The files that hold tensors.
pub(super) fn shards(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Ok(vec![folder.join(WHOLE)]);
    }
    let wrong = |reason: String| LoadError::Index { file: INDEX, reason };
    let text = fs::read_to_string(&index).map_err(LoadError::File)?;
    let index: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let map = index["weight_map"].as_object().ok_or_else(|| wrong("no weight_map".into()))?;
    let names: Option<BTreeSet<&str>> = map.values().map(serde_json::Value::as_str).collect();
    let names = names.ok_or_else(|| wrong("a file without a name".into()))?;
    // what lies elsewhere would not be in the digest
    match names.iter().find(|name| name.contains('/') || !name.ends_with(".safetensors")) {
        Some(name) => Err(wrong(format!("`{name}` is no file of the folder"))),
        None => Ok(names.into_iter().map(|name| folder.join(name)).collect()),
    }
}

/// What of a file is no tensor: all of it, or the list at the beginning of a shard.
pub(super) fn head_of<'a>(name: &str, bytes: &'a [u8]) -> &'a [u8] {
    if !name.ends_with(".safetensors") {
        return bytes;
    }
    let list = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let end = usize::try_from(list).unwrap_or(usize::MAX).saturating_add(8).min(bytes.len());
    &bytes[..end]
}

/// The head and the shards of a folder.
pub(super) struct FolderSource<'a> {
    header: &'a GgufHeader,
    architecture: &'a str,
    shards: Vec<SafeTensors<'a>>,
    /// In which shard a tensor is.
    places: HashMap<String, usize>,
    /// Lists of the settings as tensors: name and bytes.
    lists: Vec<(&'static str, Vec<u8>)>,
    /// All files, and their bytes together.
    files: &'a [MappedFile],
    bytes: u64,
}

impl<'a> FolderSource<'a> {
    /// Over the shards' names and bytes, which are among those of all `files`.
    pub(super) fn new(
        header: &'a GgufHeader,
        shards: &[(String, &'a [u8])],
        files: &'a [MappedFile],
    ) -> Result<Self, LoadError> {
        let architecture = header.text("general.architecture").unwrap_or_default();
        let mut places = HashMap::new();
        let mut parsed = Vec::new();
        for (number, (file, bytes)) in shards.iter().enumerate() {
            let damaged = |source| LoadError::Safetensors { file: file.clone(), source };
            let shard = SafeTensors::deserialize(bytes).map_err(damaged)?;
            for name in shard.names() {
                if places.insert(name.to_string(), number).is_some() {
                    return Err(LoadError::Twice { name: name.to_string() });
                }
            }
            parsed.push(shard);
        }
        let list = |(name, key): (&'static str, &str)| {
            let numbers = header.floats(&format!("{architecture}.{key}"))?;
            Some((name, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()))
        };
        let lists = FACTORS.into_iter().filter_map(list).collect();
        let bytes = files.iter().map(|file| file.bytes().len() as u64).sum();
        Ok(Self { header, architecture, shards: parsed, places, lists, files, bytes })
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }
}

impl Source for FolderSource<'_> {
    fn architecture(&self) -> Result<&str, LoadError> {
        Ok(self.architecture)
    }

    fn key_name(&self, key: &str) -> String {
        format!("{} (from config.json)", self.key(key))
    }

    fn has(&self, key: &str) -> bool {
        self.header.has(&self.key(key))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.header.text(&self.key(key))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.header.number(&self.key(key))
    }

    fn float(&self, key: &str) -> Option<f64> {
        self.header.float(&self.key(key))
    }

    fn tensor_name(&self, name: &str) -> String {
        names::published(name, self.architecture)
    }

    fn tensor(&self, name: &str) -> Result<Option<Found<'_>>, LoadError> {
        if let Some((_, bytes)) = self.lists.iter().find(|(list, _)| *list == name) {
            let shape = vec![bytes.len() as u64 / 4];
            return Ok(Some(Found { kind: WeightKind::F32, shape, bytes }));
        }
        let name = self.tensor_name(name);
        let Some(shard) = self.places.get(&name) else { return Ok(None) };
        let tensor = self.shards[*shard].tensor(&name).expect("the shard was asked for its names");
        let kind = match tensor.dtype() {
            Dtype::F32 => WeightKind::F32,
            Dtype::F16 => WeightKind::F16,
            Dtype::BF16 => WeightKind::BF16,
            other => return Err(LoadError::Dtype { name, dtype: other.to_string() }),
        };
        let shape = tensor.shape().iter().rev().map(|size| *size as u64).collect();
        Ok(Some(Found { kind, shape, bytes: tensor.data() }))
    }

    /// Without what old files keep of rotations, which is computed here.
    fn tensor_names(&self) -> Vec<&str> {
        let names = self.places.keys().map(String::as_str);
        names.filter(|name| !name.ends_with(".rotary_emb.inv_freq")).collect()
    }

    fn release(&self, bytes: &[u8]) {
        // only the file that has them does anything
        self.files.iter().for_each(|file| file.release(bytes));
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn has_neighbouring_pairs(&self) -> bool {
        false
    }

    /// Gemma's norms multiply by one more than their weights.
    fn norm_offset(&self) -> f64 {
        if self.architecture == "gemma3" { 1.0 } else { 0.0 }
    }
}
