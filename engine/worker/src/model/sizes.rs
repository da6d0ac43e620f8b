//! The sizes of a model, as its metadata has them.

use super::{LoadError, Setup, Weights};

/// Bounds for sizes in the metadata: an order above the largest models.
const LAYERS_MAX: usize = 1024;
const HEADS_MAX: usize = 1024;
const WIDTH_MAX: usize = 1 << 18;
/// What the table of rotations can hold.
pub(super) const CONTEXT_MAX: usize = 1 << 20;

/// Sizes that every architecture has.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) layers: usize,
    pub(super) width: usize,
    /// Query heads, a multiple of `kv_heads`.
    pub(super) heads: usize,
    /// Heads of keys, and of values.
    pub(super) kv_heads: usize,
    /// A multiple of 16.
    pub(super) head_width: usize,
    pub(super) feed_forward: usize,
    /// Longest sequence, as it is configured: never more than the model was made for.
    pub(super) context: usize,
    /// What is added to the mean square of a norm.
    pub(super) epsilon: f32,
    /// Width of the logits.
    pub(super) vocabulary: usize,
}

impl Sizes {
    pub(super) fn read(weights: &Weights<'_>, setup: Setup) -> Result<Self, LoadError> {
        let width = weights.count("embedding_length", WIDTH_MAX)?;
        let heads = weights.count("attention.head_count", HEADS_MAX)?;
        let kv_heads = weights.count_or("attention.head_count_kv", HEADS_MAX, heads)?;
        let key = "attention.key_length";
        let head_width = weights.count_or(key, WIDTH_MAX, (width / heads).max(1))?;
        weights.refuse_unless("attention.value_length", &head_width.to_string())?;
        weights.refuse_unless("expert_count", "0")?;
        if !heads.is_multiple_of(kv_heads) {
            let expected = "it must divide the number of heads";
            return Err(weights.wrong("attention.head_count_kv", kv_heads, expected));
        }
        if !head_width.is_multiple_of(16) {
            return Err(weights.wrong(key, head_width, "heads must be multiples of 16 wide"));
        }
        let made_for = weights.count("context_length", CONTEXT_MAX)?;
        let context = setup.context_max.map_or(made_for, |max| made_for.min(max.get() as usize));
        Ok(Self {
            layers: weights.count("block_count", LAYERS_MAX)?,
            width,
            heads,
            kv_heads,
            head_width,
            feed_forward: weights.count("feed_forward_length", WIDTH_MAX)?,
            context,
            epsilon: weights.float_or("attention.layer_norm_rms_epsilon", 1e-5)?,
            vocabulary: weights.rows_of("token_embd.weight")?,
        })
    }

    /// Width of all query heads.
    pub(super) fn queries(&self) -> usize {
        self.heads * self.head_width
    }

    /// Width of all key heads.
    pub(super) fn keys(&self) -> usize {
        self.kv_heads * self.head_width
    }
}

/// A window of the metadata, where it is narrower than the context.
pub(super) fn window(weights: &Weights<'_>, sizes: &Sizes) -> Result<Option<u32>, LoadError> {
    let key = "attention.sliding_window";
    if weights.source().number(key) == Some(0) {
        return Ok(None);
    }
    let window = weights.count_or(key, u32::MAX as usize, sizes.context)?;
    Ok((window < sizes.context).then_some(window as u32))
}
