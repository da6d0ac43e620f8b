//! Qwen3 (arXiv 2505.09388), dense: heads of queries and keys are normed, and nothing has a bias.

use super::decoder::{Decoder, read_alike};
use super::design::Design;
use super::{LoadError, Setup, Weights};

const DESIGN: Design = Design { has_head_norms: true, ..Design::PLAIN };

/// Reads the weights.
pub(super) fn read(weights: &mut Weights<'_>, setup: Setup) -> Result<Decoder, LoadError> {
    read_alike(weights, setup, &DESIGN)
}
