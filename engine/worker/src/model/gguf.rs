//! A GGUF file as a source.

use engine_kernels::WeightKind;
use engine_text::GgufHeader;

use super::LoadError;
use super::file::MappedFile;
use super::source::{Found, Source};

/// The head and the bytes of a file.
pub(super) struct GgufSource<'a> {
    header: &'a GgufHeader,
    file: &'a MappedFile,
    architecture: Option<&'a str>,
}

impl<'a> GgufSource<'a> {
    /// Over the whole file.
    pub(super) fn new(header: &'a GgufHeader, file: &'a MappedFile) -> Self {
        Self { header, file, architecture: header.text("general.architecture") }
    }
}

impl Source for GgufSource<'_> {
    fn architecture(&self) -> Result<&str, LoadError> {
        let key = "general.architecture";
        self.architecture.ok_or_else(|| LoadError::Missing { key: key.to_owned() })
    }

    fn key_name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.unwrap_or_default())
    }

    fn has(&self, key: &str) -> bool {
        self.header.has(&self.key_name(key))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.header.text(&self.key_name(key))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.header.number(&self.key_name(key))
    }

    fn float(&self, key: &str) -> Option<f64> {
        self.header.float(&self.key_name(key))
    }

    fn tensor_name(&self, name: &str) -> String {
        name.to_owned()
    }

    fn tensor(&self, name: &str) -> Result<Option<Found<'_>>, LoadError> {
        let Some(entry) = self.header.tensor(name) else { return Ok(None) };
        let kind = WeightKind::from_ggml_id(entry.kind.id())
            .map_err(|source| LoadError::Weights { name: name.to_owned(), source })?;
        let range = entry.bytes.start as usize..entry.bytes.end as usize;
        let bytes = self.file.bytes().get(range).expect("the header's ranges lie within the file");
        Ok(Some(Found { kind, shape: entry.shape.clone(), bytes }))
    }

    fn tensor_names(&self) -> Vec<&str> {
        self.header.tensors().iter().map(|tensor| tensor.name.as_str()).collect()
    }

    fn release(&self, bytes: &[u8]) {
        self.file.release(bytes);
    }

    fn bytes(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    /// llama.cpp's converter permutes them, for `llama` alone.
    fn has_neighbouring_pairs(&self) -> bool {
        true
    }

    /// The converter has added what is to be added.
    fn norm_offset(&self) -> f64 {
        0.0
    }
}
