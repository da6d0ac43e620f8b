//! The half of a layer that looks at other positions.

use candle_core::{Result, Tensor};
use engine_kernels::{
    Activations, AttentionOptions, QMatrix, RmsNorm, RopeTable, Turn, paged_attention, project,
    project_onto, rms_norm, rms_norm_onto, rope, write_keys, write_values,
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

    /// `x` (rows, width) with what this half adds. Writes the keys and values of every row before
    /// any row attends.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        step: &Step<'_>,
        sizes: &Sizes,
        table: &RopeTable,
        activations: Activations,
    ) -> Result<Tensor> {
        let norm = RmsNorm { weight: &self.norm, eps: sizes.epsilon };
        let [query, key, value] = self.projected(x, norm, activations)?;
        let (query_norm, key_norm) = self.head_norms.as_ref().map(|(q, k)| (q, k)).unzip();
        let query = by_head(&query, sizes.heads, query_norm, sizes)?;
        let key = by_head(&key, sizes.kv_heads, key_norm, sizes)?;
        let value = by_head(&value, sizes.kv_heads, None, sizes)?;
        let (LayerCache { keys, values, .. }, at) = (step.cache, step.rows);
        write_keys(keys, &key, at.slots, Some(Turn { positions: step.positions, table }))?;
        write_values(values, &value, at.slots)?;
        let query = rope(&query, step.positions, table)?;
        let attended = paged_attention(&query, keys, values, &at.attention, &self.options)?;
        match &self.post_norm {
            Some(weight) => {
                let out = self.output.forward(&attended, activations)?;
                rms_norm_onto(&out, RmsNorm { weight, eps: sizes.epsilon }, x)
            }
            None => project_onto(&attended, &self.output, x, activations),
        }
    }

    /// Queries, keys and values, each (rows, heads * head width).
    fn projected(
        &self,
        x: &Tensor,
        norm: RmsNorm<'_>,
        activations: Activations,
    ) -> Result<[Tensor; 3]> {
        let parts = [&self.query, &self.key, &self.value];
        let mut products =
            project(x, Some(norm), &parts.map(|part| &part.matrix), activations)?.into_iter();
        let [query, key, value] = parts.map(|part| {
            let product = products.next().expect("a product for each matrix");
            match &part.bias {
                Some(bias) => product.broadcast_add(bias),
                None => Ok(product),
            }
        });
        Ok([query?, key?, value?])
    }
}

/// Queries, keys or values by head, normed where they are: (rows, heads, width).
fn by_head(x: &Tensor, heads: usize, norm: Option<&Tensor>, sizes: &Sizes) -> Result<Tensor> {
    let (rows, width) = (x.dim(0)?, sizes.head_width);
    let x = match norm {
        Some(norm) => rms_norm(&x.reshape((rows * heads, width))?, norm, sizes.epsilon)?,
        None => x.clone(),
    };
    x.reshape((rows, heads, width))
}
