//! The arithmetic of the engine: batch-invariant kernels as Candle custom ops.
//!
//! Candle lends its tensors and its device dispatch; every matrix product, norm, rotation, softmax
//! and attention is computed here, because a row's result must never depend on what else is in the
//! batch. What is pinned, so that results are equal bit for bit:
//!
//! - one order of summation for one row and for many, wherever the row lies in the batch;
//! - threads split outputs, never a sum;
//! - activations are quantized row by row;
//! - attention sums over spans of 256 *absolute* positions, merged left to right, and reads keys and
//!   values as rounded in the cache, so that decode, chunks and reused prefixes agree;
//! - `exp`, sine and cosine are our own polynomials: no libm;
//! - the instruction sets ([`Path`]) are the same source: integer dots are exact, floats run in 16
//!   lanes with fused multiply-add.
//!
//! Activations are `f32` tensors of shape (rows, width), contiguous. Each op has a body for the CPU and,
//! with the feature `cuda`, one for NVIDIA GPUs.

#![allow(clippy::needless_range_loop, reason = "registers are indexed like the formulas")]

mod activations;
mod attention;
#[cfg(any(feature = "cuda", test))]
mod cuda;
mod device;
mod exponents;
mod float;
mod gate;
mod gelu;
mod ggml;
mod key_block;
mod kv_cache;
mod lanes;
mod layer_norm;
mod norm;
mod path;
mod q_matrix;
mod rope;
mod shared_rows;
mod soft_cap;
mod softmax;
mod storage;
mod threads;
mod value_block;
mod weight_kind;
mod whole_attention;

pub use activations::Activations;
pub use attention::{AttentionBatch, AttentionOptions, AttentionRow, BatchError, paged_attention};
pub use device::{DeviceError, DeviceName};
pub use exponents::{SPAN, Weights, exponent};
pub use float::exp;
pub use gate::{Gate, gated};
pub use gelu::gelu;
pub use kv_cache::{BLOCK_TOKENS, KvKind, Turn, key_cache, value_cache, write_keys, write_values};
pub use layer_norm::layer_norm;
pub use norm::{RmsNorm, rms_norm, rms_norm_onto};
pub use path::Path;
pub use q_matrix::QMatrix;
pub use q_matrix::packed::{
    PACKED_ALIGNMENT, PACKING_VERSION, PackedError, PackedPart, SharedBytes, Unchanging,
};
pub use q_matrix::projection::{project, project_gated, project_onto};
pub use rope::{RopeScaling, RopeStyle, RopeTable, rope};
pub use soft_cap::soft_cap;
pub use softmax::softmax;
pub use threads::{Threads, ThreadsError};
pub use weight_kind::{WeightError, WeightKind};
pub use whole_attention::whole_attention;

/// The numerics class of encoders on the CPU, which have no cache: as below.
pub const ENCODER_NUMERICS: &str = "cpu-v2-encoder-f32";

/// The numerics class of the kernels of `device`: inside one class results are equal bit for bit,
/// whatever the instruction set, the thread count and the batch.
///
/// A GPU multiplies with activations as they are, so `activations` is not in its name. It is called
/// `unpinned` until the worker's property test has passed on one: see `tests/on-gpu`.
pub fn numerics_class(
    device: &candle_core::Device,
    kv: KvKind,
    activations: Activations,
) -> &'static str {
    let flash = cfg!(feature = "flash-attn");
    match (device.is_cpu(), kv, activations) {
        (true, KvKind::Q8, Activations::Int8) => "cpu-v3-q8",
        (true, KvKind::F16, Activations::Int8) => "cpu-v2-f16",
        (true, KvKind::F32, Activations::Int8) => "cpu-v2-f32",
        (true, KvKind::Q8, Activations::F32) => "cpu-v3-q8-f32act",
        (true, KvKind::F16, Activations::F32) => "cpu-v2-f16-f32act",
        (true, KvKind::F32, Activations::F32) => "cpu-v2-f32-f32act",
        (false, KvKind::Q8, _) => "none: keys and values of 8 bits are for the CPU",
        (false, KvKind::F16, _) if flash => "cuda-v2-f16-flash-unpinned",
        (false, KvKind::F16, _) => "cuda-v2-f16-unpinned",
        (false, KvKind::F32, _) => "cuda-v2-f32-unpinned",
    }
}
