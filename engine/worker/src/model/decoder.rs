//! The shape that all architectures share: layers of two halves between an embedding and a head.

use candle_core::{Result, Tensor};
use engine_kernels::{Activations, AttentionOptions, QMatrix, RopeTable, rms_norm, soft_cap};

use super::attention::{Attention, Step};
use super::design::Design;
use super::feed_forward::FeedForward;
use super::rotation::Turning;
use super::sizes::Sizes;
use super::{Batch, LoadError, Model, Setup, Weights};
use crate::kv::{CacheShape, KvCache, LayerShape};

/// A model of any architecture.
pub(super) struct Decoder {
    sizes: Sizes,
    activations: Activations,
    embedding: QMatrix,
    embedding_scale: Option<f64>,
    layers: Vec<Layer>,
    /// How positions are turned; layers name theirs.
    rotations: Vec<RopeTable>,
    norm: Tensor,
    /// `None` where the embedding is also the head.
    head: Option<QMatrix>,
    logit_cap: Option<f32>,
}

struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
    rotation: usize,
}

/// What one layer does of its own.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    pub(super) options: AttentionOptions,
    /// Which of the model's tables of rotations it uses.
    pub(super) rotation: usize,
}

impl Decoder {
    /// Reads every layer. `sight` tells of each what it sees.
    pub(super) fn read(
        weights: &mut Weights<'_>,
        setup: Setup,
        design: &Design,
        sizes: Sizes,
        rotations: Vec<Turning>,
        sight: impl Fn(usize) -> Sight,
    ) -> std::result::Result<Self, LoadError> {
        let Sizes { width, vocabulary, .. } = sizes;
        let embedding = weights.matrix("token_embd.weight", vocabulary, width)?;
        let mut layer = |index| {
            let Sight { options, rotation } = sight(index);
            Ok(Layer {
                attention: Attention::read(weights, index, design, &sizes, options)?,
                feed_forward: FeedForward::read(weights, index, design, &sizes)?,
                rotation,
            })
        };
        let layers =
            (0..sizes.layers).map(&mut layer).collect::<std::result::Result<_, LoadError>>()?;
        let norm = weights.norm("output_norm.weight", width)?;
        let head = match weights.has("output.weight") {
            true => Some(weights.matrix("output.weight", vocabulary, width)?),
            false => None,
        };
        Ok(Self {
            sizes,
            activations: setup.activations,
            embedding,
            embedding_scale: design.has_scaled_embedding.then(|| (width as f64).sqrt()),
            layers,
            rotations: rotations
                .into_iter()
                .map(Turning::finish)
                .collect::<std::result::Result<_, _>>()?,
            norm,
            head,
            logit_cap: weights.float_if_any("final_logit_softcapping")?,
        })
    }
}

impl Model for Decoder {
    fn cache_shape(&self) -> CacheShape {
        let Sizes { kv_heads, head_width, context, .. } = self.sizes;
        let layers = self.layers.iter().map(|layer| LayerShape {
            kv_heads,
            head_width,
            window: layer.attention.window(),
        });
        CacheShape { layers: layers.collect(), context: context as u32 }
    }

    fn vocabulary(&self) -> u32 {
        self.sizes.vocabulary as u32
    }

    fn forward(&self, batch: &Batch, cache: &KvCache) -> Result<Tensor> {
        let groups = batch.groups().map_err(candle_core::Error::wrap)?;
        let mut x = self.embedding.rows(&batch.tokens)?;
        if let Some(scale) = self.embedding_scale {
            x = (x * scale)?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.layer(index);
            let rows = &groups[cache.group];
            let step = Step { positions: &batch.positions, rows, cache };
            let table = &self.rotations[layer.rotation];
            let (sizes, activations) = (&self.sizes, self.activations);
            x = layer.attention.forward(&x, &step, sizes, table, activations)?;
            x = layer.feed_forward.forward(&x, sizes.epsilon, activations)?;
        }
        let x = batch.drawn_of(&x)?;
        let x = rms_norm(&x, &self.norm, self.sizes.epsilon)?;
        let logits = self.head.as_ref().unwrap_or(&self.embedding).forward(&x, self.activations)?;
        match self.logit_cap {
            Some(cap) => soft_cap(&logits, cap),
            None => Ok(logits),
        }
    }
}

/// The model of an architecture whose layers are all alike.
pub(super) fn read_alike(
    weights: &mut Weights<'_>,
    setup: Setup,
    design: &Design,
) -> std::result::Result<Decoder, LoadError> {
    let sizes = Sizes::read(weights, setup)?;
    let rotations = vec![super::rotation::read(weights, design.style, &sizes)?];
    let options = AttentionOptions {
        scale: 1.0 / (sizes.head_width as f32).sqrt(),
        window: super::sizes::window(weights, &sizes)?,
        softcap: weights.float_if_any("attn_logit_softcapping")?,
    };
    let sight = |_| Sight { options, rotation: 0 };
    Decoder::read(weights, setup, design, sizes, rotations, sight)
}
