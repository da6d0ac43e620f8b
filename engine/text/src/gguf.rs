//! The head of a GGUF file: metadata and the table of tensors (ggml's docs/gguf.md).
//!
//! A model file is untrusted input. Nothing is allocated before the file has been shown to be
//! long enough to hold it, all arithmetic is checked, and a tensor's bytes are known to lie
//! within the file before anybody maps them.

mod error;
mod ggml_type;
mod source;
mod tensor;
mod value;

#[cfg(test)]
pub(crate) mod draft;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub use error::GgufError;
pub use ggml_type::GgmlType;
use source::Source;
pub use tensor::TensorEntry;
pub(crate) use value::Value;

/// Most metadata entries. Real files have a few dozen.
const ENTRIES_MAX: u64 = 65_536;
/// Most tensors. The largest models in use have some thousands.
const TENSORS_MAX: u64 = 65_536;
/// Longest key in bytes, as the format says.
const KEY_BYTES_MAX: u64 = 65_535;
/// Alignment of tensor data where the file names none.
const ALIGNMENT_DEFAULT: u64 = 32;
/// The file's first four bytes.
const MAGIC: [u8; 4] = *b"GGUF";

/// What a GGUF file says before its weights.
#[derive(Debug)]
pub struct GgufHeader {
    entries: HashMap<String, Value>,
    tensors: Vec<TensorEntry>,
}

impl GgufHeader {
    /// Reads and checks the head of the file, or what stands for one in a folder of safetensors; the
    /// weights are not read.
    pub fn read(path: &Path) -> Result<Self, GgufError> {
        if path.is_dir() {
            return crate::folder::read(path).map_err(GgufError::Folder);
        }
        let open = |source| GgufError::Read { offset: 0, source };
        let file = File::open(path).map_err(open)?;
        let length = file.metadata().map_err(open)?.len();
        Self::parse(BufReader::with_capacity(1 << 18, file), length)
    }

    /// A head without tensors.
    pub(crate) fn of_entries(entries: HashMap<String, Value>) -> Self {
        Self { entries, tensors: Vec::new() }
    }

    /// The same from any source. `length` is the whole file's, in bytes.
    pub fn parse(input: impl Read, length: u64) -> Result<Self, GgufError> {
        let mut source = Source::new(input, length);
        check_magic(&mut source)?;
        let tensor_count = source.u64("tensor count")?;
        source.limit("tensor count", tensor_count, TENSORS_MAX)?;
        let entry_count = source.u64("metadata count")?;
        source.limit("metadata count", entry_count, ENTRIES_MAX)?;
        let mut entries = HashMap::new();
        for _ in 0..entry_count {
            let offset = source.offset();
            let key = source.text("metadata key", KEY_BYTES_MAX)?;
            let value = Value::read(&mut source, &key)?;
            if entries.contains_key(&key) {
                return Err(GgufError::DuplicateKey { key, offset });
            }
            entries.insert(key, value);
        }
        let alignment = alignment(&entries)?;
        let tensors = tensor::read_table(&mut source, tensor_count, alignment)?;
        Ok(Self { entries, tensors })
    }

    /// A text, or `None` where the key is absent or holds something else.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.text()
    }

    /// A whole number that is not negative, of any width.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.entries.get(key)?.number()
    }

    /// A number of any kind, as a float.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.entries.get(key)?.float()
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.entries.get(key)?.bool()
    }

    /// An array of texts.
    pub fn texts(&self, key: &str) -> Option<&[String]> {
        self.entries.get(key)?.texts()
    }

    /// An array of whole numbers of any width that fit 64 bits with a sign.
    pub fn integers(&self, key: &str) -> Option<&[i64]> {
        self.entries.get(key)?.integers()
    }

    /// An array of floats.
    pub fn floats(&self, key: &str) -> Option<&[f32]> {
        self.entries.get(key)?.floats()
    }

    /// Whether the key is there, whatever it holds.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The tensors, in the file's order. Their ranges lie within the file and do not overlap.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

fn check_magic(source: &mut Source<impl Read>) -> Result<(), GgufError> {
    let magic = source.array::<4>("magic")?;
    if magic != MAGIC {
        return Err(GgufError::NotGguf { magic });
    }
    let version = source.u32("version")?;
    match version {
        2 | 3 => Ok(()),
        _ => Err(GgufError::Version { version, big_endian: version.swap_bytes() < 16 }),
    }
}

fn alignment(entries: &HashMap<String, Value>) -> Result<u64, GgufError> {
    let Some(value) = entries.get("general.alignment") else {
        return Ok(ALIGNMENT_DEFAULT);
    };
    let alignment = value.number().unwrap_or(0);
    // a page is the most that anyone could want
    if !alignment.is_power_of_two() || alignment > 65_536 {
        return Err(GgufError::Alignment { alignment });
    }
    Ok(alignment)
}
