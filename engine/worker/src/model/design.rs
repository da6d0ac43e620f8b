//! What tells one architecture from another.

use engine_kernels::{Gate, RopeStyle};

/// The parts that a layer has. Sizes are read from each file; this is what the file's name of the
/// architecture stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Design {
    /// Which elements of a head are turned together.
    pub(super) style: RopeStyle,
    /// A vector is added to queries, keys and values.
    pub(super) has_bias: bool,
    /// Each head of queries and keys is normed before it is turned.
    pub(super) has_head_norms: bool,
    /// Query, key and value are one matrix, and so are gate and up.
    pub(super) is_fused: bool,
    /// What a half of a layer gives is normed before it is added.
    pub(super) has_post_norms: bool,
    /// Embeddings are multiplied with the root of their width.
    pub(super) has_scaled_embedding: bool,
    /// How a feed-forward layer bends its gate.
    pub(super) gate: Gate,
}

impl Design {
    /// The least: what the others are variations of.
    pub(super) const PLAIN: Self = Self {
        style: RopeStyle::Halves,
        has_bias: false,
        has_head_norms: false,
        is_fused: false,
        has_post_norms: false,
        has_scaled_embedding: false,
        gate: Gate::Silu,
    };
}
