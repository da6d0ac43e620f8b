//! Gemma 3 (arXiv 2503.19786), its text half: of six layers five see a window only and turn positions
//! by a base of their own; norms on both sides of each half and on heads; GELU; scaled embeddings.

use engine_kernels::{AttentionOptions, Gate, RopeScaling};

use super::decoder::{Decoder, Sight};
use super::design::Design;
use super::rotation::{self, Turning};
use super::sizes::{Sizes, window};
use super::{LoadError, Setup, Weights};

const DESIGN: Design = Design {
    has_head_norms: true,
    has_post_norms: true,
    has_scaled_embedding: true,
    gate: Gate::Gelu,
    ..Design::PLAIN
};

/// Every so many layers one sees everything, where a file does not say otherwise.
const PATTERN: usize = 6;
/// Layers of the one size whose scores are scaled by the width over the heads (27B), which GGUF files
/// do not say (llama.cpp, `llama-model.cpp`).
const LAYERS_27B: usize = 62;
/// Tables of rotations.
const GLOBAL: usize = 0;
const LOCAL: usize = 1;

/// Reads the weights.
pub(super) fn read(weights: &mut Weights<'_>, setup: Setup) -> Result<Decoder, LoadError> {
    let sizes = Sizes::read(weights, setup)?;
    let pattern = weights.count_or("attention.sliding_window_pattern", sizes.layers, PATTERN)?;
    let local = window(weights, &sizes)?;
    let local_base = weights.float_or("rope.freq_base_swa", rotation::BASE)?;
    // what scales the rotations of a long context is for the layers that see it
    let rotations = vec![
        rotation::read(weights, DESIGN.style, &sizes)?,
        Turning::start(
            DESIGN.style,
            sizes.head_width,
            local_base,
            RopeScaling::None,
            sizes.context,
        )?,
    ];
    let options = AttentionOptions {
        scale: 1.0 / score_width(weights, &sizes)?.sqrt(),
        window: None,
        softcap: weights.float_if_any("attn_logit_softcapping")?,
    };
    let sight = |layer: usize| match (layer + 1).is_multiple_of(pattern) {
        true => Sight { options, rotation: GLOBAL },
        false => Sight { options: AttentionOptions { window: local, ..options }, rotation: LOCAL },
    };
    Decoder::read(weights, setup, &DESIGN, sizes, rotations, sight)
}

/// The width whose root scores are divided by.
fn score_width(weights: &Weights<'_>, sizes: &Sizes) -> Result<f32, LoadError> {
    let usual = match sizes.layers {
        LAYERS_27B => sizes.width / sizes.heads,
        _ => sizes.head_width,
    };
    weights.float_or("attention.query_scalar", usual as f32)
}
