//! Where metadata and tensors come from: a GGUF file, or a folder of safetensors.
//!
//! Architectures are written in the words of GGUF: `embedding_length`, `blk.0.attn_q.weight`. A source
//! that calls things otherwise translates.

use engine_kernels::WeightKind;

use super::LoadError;

/// A tensor's bytes.
#[derive(Clone)]
pub(super) struct Found<'a> {
    pub(super) kind: WeightKind,
    /// Innermost first.
    pub(super) shape: Vec<u64>,
    pub(super) bytes: &'a [u8],
}

/// Metadata and tensors, by the names of GGUF. Keys come without the architecture's prefix.
pub(super) trait Source {
    /// The architecture, as GGUF calls it where GGUF knows it.
    fn architecture(&self) -> Result<&str, LoadError>;

    /// What the operator finds a key under.
    fn key_name(&self, key: &str) -> String;

    /// Whether there is a value.
    fn has(&self, key: &str) -> bool;

    /// A text.
    fn text(&self, key: &str) -> Option<&str>;

    /// A whole number that is not negative.
    fn number(&self, key: &str) -> Option<u64>;

    /// Any number.
    fn float(&self, key: &str) -> Option<f64>;

    /// What the operator finds a tensor under.
    fn tensor_name(&self, name: &str) -> String;

    /// A tensor, if it is there.
    fn tensor(&self, name: &str) -> Result<Option<Found<'_>>, LoadError>;

    /// The names of all tensors, as the operator finds them.
    fn tensor_names(&self) -> Vec<&str>;

    /// The bytes of a tensor are not read any more, as far as is known: their memory may go.
    fn release(&self, bytes: &[u8]);

    /// Bytes of the files.
    fn bytes(&self) -> u64;

    /// Whether llama's rows of query and key are in the order of neighbouring pairs.
    fn has_neighbouring_pairs(&self) -> bool;

    /// What is to be added to the weights of norms.
    fn norm_offset(&self) -> f64;
}
