//! The half of a layer that looks at each position by itself.

use candle_core::{Result, Tensor};
use engine_kernels::{Activations, QMatrix, gelu_mul, rms_norm, silu_mul};

use super::design::{Design, Gate};
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

    /// What is to be added to `x` (rows, width).
    pub(super) fn forward(
        &self,
        x: &Tensor,
        epsilon: f32,
        activations: Activations,
    ) -> Result<Tensor> {
        let x = rms_norm(x, &self.norm, epsilon)?;
        let gate = self.gate.forward(&x, activations)?;
        let up = self.up.forward(&x, activations)?;
        let bent = match self.bend {
            Gate::Silu => silu_mul(&gate, &up)?,
            Gate::Gelu => gelu_mul(&gate, &up)?,
        };
        let out = self.down.forward(&bent, activations)?;
        match &self.post_norm {
            Some(norm) => rms_norm(&out, norm, epsilon),
            None => Ok(out),
        }
    }
}
