//! Phi-3 (arXiv 2404.14219), with its successors down to Phi-4-mini: fused matrices, LongRoPE, part
//! of each head turned where the file says so, and a window where the makers trained with one.

use super::decoder::{Decoder, read_alike};
use super::design::Design;
use super::{LoadError, Setup, Weights};

const DESIGN: Design = Design { is_fused: true, ..Design::PLAIN };

/// Reads the weights.
pub(super) fn read(weights: &mut Weights<'_>, setup: Setup) -> Result<Decoder, LoadError> {
    read_alike(weights, setup, &DESIGN)
}
