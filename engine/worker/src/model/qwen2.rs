//! Qwen2 and Qwen2.5 (arXiv 2407.10671, arXiv 2412.15115): queries, keys and values have a bias.

use super::decoder::{Decoder, read_alike};
use super::design::Design;
use super::{LoadError, Setup, Weights};

const DESIGN: Design = Design { has_bias: true, ..Design::PLAIN };

/// Reads the weights.
pub(super) fn read(weights: &mut Weights<'_>, setup: Setup) -> Result<Decoder, LoadError> {
    read_alike(weights, setup, &DESIGN)
}
