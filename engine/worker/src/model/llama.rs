//! Llama (arXiv 2302.13971), with grouped queries (arXiv 2305.13245): also what Mistral (arXiv
//! 2310.06825) and SmolLM2 are written as.

use engine_kernels::RopeStyle;

use super::decoder::{Decoder, read_alike};
use super::design::Design;
use super::{LoadError, Setup, Weights};

/// Reads the weights.
pub(super) fn read(weights: &mut Weights<'_>, setup: Setup) -> Result<Decoder, LoadError> {
    let style = match weights.source().has_neighbouring_pairs() {
        true => RopeStyle::Interleaved,
        false => RopeStyle::Halves,
    };
    read_alike(weights, setup, &Design { style, ..Design::PLAIN })
}
