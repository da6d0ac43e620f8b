//! Llama (arXiv 2302.13971), with grouped queries (arXiv 2305.13245): also what GGUF files of
//! SmolLM2 and Mistral are written as.

use candle_core::{Result, Tensor};
use engine_kernels::{
    Activations, AttentionOptions, QMatrix, RopeScaling, RopeStyle, RopeTable, paged_attention,
    rms_norm, rope, silu_mul, write_kv,
};

use super::batch::GroupRows;
use super::{Batch, LoadError, Model, Weights};
use crate::kv::{CacheShape, KvCache, LayerCache, LayerShape};

/// Bounds for sizes in the metadata: an order above the largest models.
const LAYERS_MAX: usize = 1024;
const HEADS_MAX: usize = 1024;
const WIDTH_MAX: usize = 1 << 18;
/// What the table of rotations can hold.
const CONTEXT_MAX: usize = 1 << 20;

/// Sizes, as the metadata has them.
struct Shape {
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    feed_forward: usize,
    context: usize,
    epsilon: f32,
}

/// The model.
pub(super) struct Llama {
    shape: Shape,
    activations: Activations,
    embedding: QMatrix,
    layers: Vec<Layer>,
    norm: Tensor,
    /// `None` where the embedding is also the head.
    head: Option<QMatrix>,
    rope: RopeTable,
}

struct Layer {
    attention_norm: Tensor,
    query: QMatrix,
    key: QMatrix,
    value: QMatrix,
    output: QMatrix,
    feed_forward_norm: Tensor,
    gate: QMatrix,
    up: QMatrix,
    down: QMatrix,
}

impl Shape {
    fn read(weights: &Weights<'_>) -> std::result::Result<Self, LoadError> {
        let width = weights.count("llama.embedding_length", WIDTH_MAX)?;
        let heads = weights.count("llama.attention.head_count", HEADS_MAX)?;
        let kv_heads = weights.count_or("llama.attention.head_count_kv", HEADS_MAX, heads)?;
        let key = "llama.attention.key_length";
        let head_width = weights.count_or(key, WIDTH_MAX, (width / heads).max(1))?;
        weights.refuse_unless("llama.attention.value_length", &head_width.to_string())?;
        weights.refuse_unless("llama.rope.scaling.type", "none")?;
        weights.refuse_unless("llama.expert_count", "0")?;
        let wrong = |key: &str, value: usize, expected| LoadError::Metadata {
            key: key.to_owned(),
            value: value.to_string(),
            expected,
        };
        if !heads.is_multiple_of(kv_heads) {
            let key = "llama.attention.head_count_kv";
            return Err(wrong(key, kv_heads, "it must divide the number of heads"));
        }
        if !head_width.is_multiple_of(16) {
            return Err(wrong(key, head_width, "heads must be multiples of 16 wide"));
        }
        let key = "llama.attention.layer_norm_rms_epsilon";
        Ok(Self {
            layers: weights.count("llama.block_count", LAYERS_MAX)?,
            width,
            heads,
            kv_heads,
            head_width,
            feed_forward: weights.count("llama.feed_forward_length", WIDTH_MAX)?,
            context: weights.count("llama.context_length", CONTEXT_MAX)?,
            epsilon: weights.float_or(key, 1e-5)?,
        })
    }
}

impl Llama {
    /// Reads the weights.
    pub(super) fn read(
        weights: &mut Weights<'_>,
        activations: Activations,
    ) -> std::result::Result<Self, LoadError> {
        let shape = Shape::read(weights)?;
        let vocabulary = weights.rows_of("token_embd.weight")?;
        let embedding = weights.matrix("token_embd.weight", vocabulary, shape.width)?;
        let layers = (0..shape.layers)
            .map(|layer| Layer::read(weights, layer, &shape))
            .collect::<std::result::Result<_, _>>()?;
        let norm = weights.vector("output_norm.weight", shape.width)?;
        let head = match weights.has("output.weight") {
            true => Some(weights.matrix("output.weight", vocabulary, shape.width)?),
            false => None,
        };
        let rope = read_rope(weights, &shape)?;
        Ok(Self { shape, activations, embedding, layers, norm, head, rope })
    }
}

fn read_rope(
    weights: &mut Weights<'_>,
    shape: &Shape,
) -> std::result::Result<RopeTable, LoadError> {
    let key = "llama.rope.dimension_count";
    let width = weights.count_or(key, shape.head_width, shape.head_width)?;
    if !width.is_multiple_of(2) {
        let (key, value) = (key.to_owned(), width.to_string());
        return Err(LoadError::Metadata { key, value, expected: "it must be even" });
    }
    let base = weights.float_or("llama.rope.freq_base", 10_000.0)?;
    let scaling = match weights.has("rope_freqs.weight") {
        true => RopeScaling::Factors {
            divisors: weights.vector("rope_freqs.weight", width / 2)?.to_vec1::<f32>()?,
            attention_factor: 1.0,
        },
        false => RopeScaling::None,
    };
    // GGUF files of this architecture have the rows of query and key permuted for this style
    let style = RopeStyle::Interleaved;
    Ok(RopeTable::new(style, width, base, &scaling, shape.context)?)
}

impl Layer {
    fn read(
        weights: &mut Weights<'_>,
        layer: usize,
        shape: &Shape,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (width, feed_forward) = (shape.width, shape.feed_forward);
        let queries = shape.heads * shape.head_width;
        let keys = shape.kv_heads * shape.head_width;
        Ok(Self {
            attention_norm: weights.vector(&name("attn_norm"), width)?,
            query: weights.matrix(&name("attn_q"), queries, width)?,
            key: weights.matrix(&name("attn_k"), keys, width)?,
            value: weights.matrix(&name("attn_v"), keys, width)?,
            output: weights.matrix(&name("attn_output"), width, queries)?,
            feed_forward_norm: weights.vector(&name("ffn_norm"), width)?,
            gate: weights.matrix(&name("ffn_gate"), feed_forward, width)?,
            up: weights.matrix(&name("ffn_up"), feed_forward, width)?,
            down: weights.matrix(&name("ffn_down"), width, feed_forward)?,
        })
    }
}

impl Model for Llama {
    fn cache_shape(&self) -> CacheShape {
        let Shape { layers, kv_heads, head_width, context, .. } = self.shape;
        let layer = LayerShape { kv_heads, head_width, window: None };
        CacheShape { layers: vec![layer; layers], context: context as u32 }
    }

    fn vocabulary(&self) -> u32 {
        self.embedding.output_width() as u32
    }

    fn forward(&self, batch: &Batch, cache: &KvCache) -> Result<Tensor> {
        let groups = batch.groups().map_err(candle_core::Error::wrap)?;
        let mut x = self.embedding.rows(&batch.tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.layer(index);
            let rows = &groups[cache.group];
            x = (&x + self.attend(layer, &x, &batch.positions, rows, cache)?)?;
            x = (&x + self.feed_forward(layer, &x)?)?;
        }
        let drawn = Tensor::new(batch.drawn.as_slice(), x.device())?;
        let x = x.index_select(&drawn, 0)?;
        let x = rms_norm(&x, &self.norm, self.shape.epsilon)?;
        self.head.as_ref().unwrap_or(&self.embedding).forward(&x, self.activations)
    }
}

impl Llama {
    fn attend(
        &self,
        layer: &Layer,
        x: &Tensor,
        positions: &[u32],
        at: &GroupRows<'_>,
        LayerCache { keys, values, .. }: &LayerCache,
    ) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_width, epsilon, .. } = self.shape;
        let rows = positions.len();
        let x = rms_norm(x, &layer.attention_norm, epsilon)?;
        let query = layer.query.forward(&x, self.activations)?;
        let key = layer.key.forward(&x, self.activations)?;
        let value = layer.value.forward(&x, self.activations)?;
        let query = rope(&query.reshape((rows, heads, head_width))?, positions, &self.rope)?;
        let key = rope(&key.reshape((rows, kv_heads, head_width))?, positions, &self.rope)?;
        // every row of the batch is in the cache before any row attends
        write_kv(keys, &key, at.slots)?;
        write_kv(values, &value.reshape((rows, kv_heads, head_width))?, at.slots)?;
        let options = AttentionOptions::scaled(1.0 / (head_width as f32).sqrt());
        let attended = paged_attention(&query, keys, values, &at.attention, &options)?;
        layer.output.forward(&attended, self.activations)
    }

    fn feed_forward(&self, layer: &Layer, x: &Tensor) -> Result<Tensor> {
        let x = rms_norm(x, &layer.feed_forward_norm, self.shape.epsilon)?;
        let gate = layer.gate.forward(&x, self.activations)?;
        let up = layer.up.forward(&x, self.activations)?;
        layer.down.forward(&silu_mul(&gate, &up)?, self.activations)
    }
}
