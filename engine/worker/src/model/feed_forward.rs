//! The half of a layer that looks at each position by itself.

use candle_core::{Result, Tensor};
use engine_kernels::{
    Activations, Gate, QMatrix, RmsNorm, project_gated, project_onto, rms_norm_onto,
};

use super::design::Design;
use super::sizes::Sizes;
use super::{LoadError, Weights};

/// The weights of one layer's half.
pub(super) struct FeedForward {
    norm: Tensor,
    gate: QMatrix,
    up: QMatrix,
    down: QMatrix,
    post_norm: Option<Tensor>,
    bend: Gate,
}

impl FeedForward {
    pub(super) fn read(
        weights: &mut Weights<'_>,
        layer: usize,
        design: &Design,
        sizes: &Sizes,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let Sizes { width, feed_forward, .. } = *sizes;
        let [gate, up] = match design.is_fused {
            true => {
                let (name, all) = (name("ffn_up"), 2 * feed_forward);
                let parts = [0..feed_forward, feed_forward..all];
                let [gate, up] = parts.map(|part| weights.rows(&name, all, width, part));
                [gate?, up?]
            }
            false => [
                weights.matrix(&name("ffn_gate"), feed_forward, width)?,
                weights.matrix(&name("ffn_up"), feed_forward, width)?,
            ],
        };
        let post_norm = match design.has_post_norms {
            true => Some(weights.norm(&name("post_ffw_norm"), width)?),
            false => None,
        };
        Ok(Self {
            norm: weights.norm(&name("ffn_norm"), width)?,
            gate,
            up,
            down: weights.matrix(&name("ffn_down"), width, feed_forward)?,
            post_norm,
            bend: design.gate,
        })
    }

    /// `x` (rows, width) with what this half adds.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        epsilon: f32,
        activations: Activations,
    ) -> Result<Tensor> {
        let norm = RmsNorm { weight: &self.norm, eps: epsilon };
        let bent = project_gated(x, norm, (&self.gate, &self.up), self.bend, activations)?;
        match &self.post_norm {
            Some(weight) => {
                let out = self.down.forward(&bent, activations)?;
                rms_norm_onto(&out, RmsNorm { weight, eps: epsilon }, x)
            }
            None => project_onto(&bent, &self.down, x, activations),
        }
    }
}
