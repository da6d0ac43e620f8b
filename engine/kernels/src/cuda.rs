//! The ops on an NVIDIA GPU.
//!
//! `cuda/*.cu` are the kernels, and the file of the same name beside each has its arguments, its grid
//! and the op's body. They are compiled when the first op runs, by NVRTC, which Candle links anyway: a
//! build needs nothing but Candle's own. An output has one thread or warp or block that sums it, in
//! an order that knows only the row itself, with IEEE operations rounded one by one: so results
//! depend neither on the batch nor on the compiler. They are not the bits of the CPU where sums are
//! involved, hence a numerics class of their own.
//!
//! The tests run the same sources on the CPU (`cuda/emulator`): there need not be a GPU where the
//! kernels are changed.

pub(crate) mod attention;
pub(crate) mod elements;
#[cfg(test)]
mod emulator;
#[cfg(feature = "flash-attn")]
pub(crate) mod flash;
#[cfg(feature = "cuda")]
mod gpu;
pub(crate) mod kv_cache;
mod launch;
pub(crate) mod matrix;
pub(crate) mod norm;
pub(crate) mod rope;
pub(crate) mod softmax;
#[cfg(test)]
mod tests;
#[cfg(feature = "cuda")]
mod uploads;

/// What the kernels are written over: functions of floats, and sums in a pinned order.
const ARITHMETIC: &str = include_str!("cuda/arithmetic.cuh");

/// The kernels of all ops, in one unit.
const KERNELS: &str = concat!(
    include_str!("cuda/norm.cu"),
    include_str!("cuda/softmax.cu"),
    include_str!("cuda/rope.cu"),
    include_str!("cuda/elements.cu"),
    include_str!("cuda/kv_cache.cu"),
    include_str!("cuda/attention.cu"),
    include_str!("cuda/matrix.cu"),
);
