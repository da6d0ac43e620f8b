//! A partition that makes vectors of texts: a queue and an encoder.
//!
//! Texts are read side by side, one after the other in one matrix, without any padding; no kernel
//! looks beyond a row but attention, which looks at the rows of its text. So a vector has the same
//! bits alone and in any batch, with any number of threads.

mod core;
mod encoder;
mod load;
mod queue;

pub use core::{EmbedConfig, EmbedCore};
