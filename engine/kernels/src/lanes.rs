//! Sixteen lanes: the vocabulary that every kernel body is written in.
//!
//! One implementation a path. An implementation is a token: a value of [`Avx512`] or [`Avx2`] exists
//! only where the CPU has those instructions, which is what makes their methods safe. Every method
//! gives the same bits on every path; `max` and `min` are those of x86 (the second operand when the
//! operands are equal or one is NaN).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
use half::{bf16, f16};
pub(crate) use scalar::Scalar;

/// Lanes of a vector on every path.
pub(crate) const LANES: usize = 16;

/// 64 bytes of weight codes, on a cache line of their own.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

impl Line {
    /// The bytes of many.
    #[inline(always)]
    pub(crate) fn bytes(lines: &[Line]) -> &[[u8; 64]] {
        // SAFETY: a line is an array of 64 bytes and nothing else, and arrays ask for less alignment.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len())
        }
    }
}

/// How the codes of 32 columns of 16 rows are packed; see `q_matrix/block_tiles.rs`.
pub(crate) trait Codes: Copy + Send + Sync + 'static {
    /// Lines for 32 columns.
    const LINES: usize;
    /// The largest code.
    const MAX: u32;
}

/// Two codes of 4 bits a byte.
#[derive(Clone, Copy)]
pub(crate) struct Nibbles;
/// A code below 64 a byte.
#[derive(Clone, Copy)]
pub(crate) struct SmallBytes;
/// A code below 256 a byte. Its zero point is 128 and `starts` must hold `-128 * sum(x)`: AVX2 has no
/// unsigned product that cannot saturate, so it multiplies the signed values instead.
#[derive(Clone, Copy)]
pub(crate) struct FullBytes;

impl Codes for Nibbles {
    const LINES: usize = 4;
    const MAX: u32 = 15;
}
impl Codes for SmallBytes {
    const LINES: usize = 8;
    const MAX: u32 = 63;
}
impl Codes for FullBytes {
    const LINES: usize = 8;
    const MAX: u32 = 255;
}

/// Eight groups of four signed bytes, the first in the lowest bits: 32 quantized activations.
pub(crate) type Quads = [i32; 8];

/// See the module.
pub(crate) trait Lanes: Copy + Send + Sync {
    /// 16 lanes of f32.
    type F: Copy;
    /// 16 lanes of i32.
    type I: Copy;
    /// The most rows of activations that one tile of weights is multiplied with at a time.
    const ROWS_MAX: usize;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn load_f16(self, from: &[f16; LANES]) -> Self::F;
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Lane `i` gets lane `i ^ DISTANCE`; 1, 2, 4 or 8.
    fn swap<const DISTANCE: usize>(self, x: Self::F) -> Self::F;
    /// The float whose bits are `(bits(x) + 127) << 23`: two to the power that the low bits of `x` hold.
    fn power_of_two(self, x: Self::F) -> Self::F;
    fn to_float(self, x: Self::I) -> Self::F;
    /// `(w >> shift) & mask` of the 16 little-endian words of a line, as floats.
    fn field(self, line: &Line, shift: u32, mask: i32) -> Self::F;

    /// Exact integer products of 16 rows of weights and `R` rows of activations over 32 columns.
    ///
    /// `lines` are the codes (`C::LINES` of them), which may lie anywhere. With `SUBS == 1` the first of each pair is
    /// `start[0] + sum(code * x)` over all columns and the second is 0; with `SUBS == 2` they are the
    /// sums over the first and the last 16 columns.
    fn dot<C: Codes, const SUBS: usize, const R: usize>(
        self,
        lines: &[[u8; 64]],
        quads: [&Quads; R],
        starts: [&[i32; 2]; R],
    ) -> [[Self::I; 2]; R];
}
