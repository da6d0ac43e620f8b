//! The half of a layer that looks at other positions.

use candle_core::{Result, Tensor};
use engine_kernels::{
    Activations, AttentionOptions, QMatrix, RopeTable, paged_attention, rms_norm, rope, write_kv,
};

use super::batch::GroupRows;
use super::design::Design;
use super::sizes::Sizes;
use super::{LoadError, Weights};
use crate::kv::LayerCache;

/// The weights of one layer's half.
pub(super) struct Attention {
    norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    /// Of the heads of queries and of keys.
    head_norms: Option<(Tensor, Tensor)>,
    output: QMatrix,
    post_norm: Option<Tensor>,
    options: AttentionOptions,
}

/// A matrix, and what is added to its product.
struct Linear {
    matrix: QMatrix,
    bias: Option<Tensor>,
}

/// What a step gives to each layer.
pub(super) struct Step<'a> {
    /// The absolute position of each row.
    pub(super) positions: &'a [u32],
    /// Where the rows are in the cache of the layer's group.
    pub(super) rows: &'a GroupRows<'a>,
    /// The layer's keys and values.
    pub(super) cache: &'a LayerCache,
}

impl Attention {
    pub(super) fn read(
        weights: &mut Weights<'_>,
        layer: usize,
        design: &Design,
        sizes: &Sizes,
        options: AttentionOptions,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (width, queries, keys) = (sizes.width, sizes.queries(), sizes.keys());
        let [query, key, value] = match design.is_fused {
            true => {
                let (name, all) = (name("attn_qkv"), queries + 2 * keys);
                let parts = [0..queries, queries..queries + keys, queries + keys..all];
                let [query, key, value] = parts.map(|part| weights.rows(&name, all, width, part));
                [query?, key?, value?]
            }
            false => [
                weights.matrix(&name("attn_q"), queries, width)?,
                weights.matrix(&name("attn_k"), keys, width)?,
                weights.matrix(&name("attn_v"), keys, width)?,
            ],
        };
        let mut linear = |matrix: QMatrix, part: &str| {
            let bias = match design.has_bias {
                true => Some(
                    weights.vector(&format!("blk.{layer}.{part}.bias"), matrix.output_width())?,
                ),
                false => None,
            };
            Ok::<_, LoadError>(Linear { matrix, bias })
        };
        let query = linear(query, "attn_q")?;
        let key = linear(key, "attn_k")?;
        let value = linear(value, "attn_v")?;
        let head_norms = match design.has_head_norms {
            true => Some((
                weights.norm(&name("attn_q_norm"), sizes.head_width)?,
                weights.norm(&name("attn_k_norm"), sizes.head_width)?,
            )),
            false => None,
        };
        let post_norm = match design.has_post_norms {
            true => Some(weights.norm(&name("post_attention_norm"), width)?),
            false => None,
        };
        Ok(Self {
            norm: weights.norm(&name("attn_norm"), width)?,
            query,
            key,
            value,
            head_norms,
            output: weights.matrix(&name("attn_output"), width, queries)?,
            post_norm,
            options,
        })
    }

    /// The positions back that this layer sees; `None` for all.
    pub(super) fn window(&self) -> Option<u32> {
        self.options.window
    }

    /// What is to be added to `x` (rows, width). Writes the keys and values of every row before any
    /// row attends.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        step: &Step<'_>,
        sizes: &Sizes,
        table: &RopeTable,
        activations: Activations,
    ) -> Result<Tensor> {
        let x = rms_norm(x, &self.norm, sizes.epsilon)?;
        let query = self.query.forward(&x, activations)?;
        let key = self.key.forward(&x, activations)?;
        let value = self.value.forward(&x, activations)?;
        let (query_norm, key_norm) = self.head_norms.as_ref().map(|(q, k)| (q, k)).unzip();
        let query = turned(&query, sizes.heads, query_norm, step, sizes, table)?;
        let key = turned(&key, sizes.kv_heads, key_norm, step, sizes, table)?;
        let rows = step.positions.len();
        let (LayerCache { keys, values, .. }, at) = (step.cache, step.rows);
        write_kv(keys, &key, at.slots)?;
        write_kv(values, &value.reshape((rows, sizes.kv_heads, sizes.head_width))?, at.slots)?;
        let attended = paged_attention(&query, keys, values, &at.attention, &self.options)?;
        let out = self.output.forward(&attended, activations)?;
        match &self.post_norm {
            Some(norm) => rms_norm(&out, norm, sizes.epsilon),
            None => Ok(out),
        }
    }
}

/// Heads of queries or keys, normed where they are, and turned by position: (rows, heads, width).
fn turned(
    x: &Tensor,
    heads: usize,
    norm: Option<&Tensor>,
    step: &Step<'_>,
    sizes: &Sizes,
    table: &RopeTable,
) -> Result<Tensor> {
    let rows = step.positions.len();
    let by_head = match norm {
        Some(norm) => rms_norm(&x.reshape((rows * heads, sizes.head_width))?, norm, sizes.epsilon)?,
        None => x.clone(),
    };
    rope(&by_head.reshape((rows, heads, sizes.head_width))?, step.positions, table)
}

impl Linear {
    fn forward(&self, x: &Tensor, activations: Activations) -> Result<Tensor> {
        let product = self.matrix.forward(x, activations)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}
