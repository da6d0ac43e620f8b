//! Two 256-bit registers a vector, `vpmaddubsw` for the integer products.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Codes, LANES, Lanes, Line, Quads};
use crate::path::Path;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Avx2> {
        Path::Avx2.has().then_some(Avx2(()))
    }
}

type Pair = [__m256; 2];

/// The 8 groups of 4 columns of a block for the rows `8 * half..`, each a register of 8 rows.
#[inline(always)]
fn unpack<C: Codes>(_: Avx2, lines: &[[u8; 64]], half: usize) -> [__m256i; 8] {
    assert!(lines.len() >= C::LINES && half < 2);
    // SAFETY: the token proves AVX2; a load reads one half of a line, whose count is asserted.
    unsafe {
        let mut codes = [_mm256_setzero_si256(); 8];
        for i in 0..C::LINES {
            let part = _mm256_loadu_si256(lines[i].as_ptr().add(32 * half).cast());
            if C::LINES == 4 {
                let mask = _mm256_set1_epi8(0x0f);
                codes[i] = _mm256_and_si256(part, mask);
                codes[i + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(part), mask);
            } else {
                codes[i] = part;
            }
        }
        codes
    }
}

/// `start + sum(code * x)` over four groups of four columns.
#[inline(always)]
fn dot_groups<C: Codes>(_: Avx2, codes: [__m256i; 4], quads: [i32; 4], start: i32) -> __m256i {
    // SAFETY: the token proves AVX2.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut sum = _mm256_setzero_si256();
        if C::MAX <= 63 {
            // eight products of at most 15 * 127 stay below 2^15, and so do four of at most 63 * 127
            let mut products = [_mm256_setzero_si256(); 4];
            for i in 0..4 {
                products[i] = _mm256_maddubs_epi16(codes[i], _mm256_set1_epi32(quads[i]));
            }
            let first = _mm256_add_epi16(products[0], products[1]);
            let second = _mm256_add_epi16(products[2], products[3]);
            sum = _mm256_set1_epi32(start);
            if C::MAX <= 15 {
                let products = _mm256_add_epi16(first, second);
                return _mm256_add_epi32(sum, _mm256_madd_epi16(products, ones));
            }
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(first, ones));
            return _mm256_add_epi32(sum, _mm256_madd_epi16(second, ones));
        }
        // two products of at most 128 * 127 do, when the sign of the weight moves to the activation;
        // `start` is the correction for the zero point of 128, which signed weights do not need
        for i in 0..4 {
            let weight = _mm256_xor_si256(codes[i], _mm256_set1_epi8(-128));
            let x = _mm256_sign_epi8(_mm256_set1_epi32(quads[i]), weight);
            let products = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), x);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, ones));
        }
        sum
    }
}

// SAFETY of all blocks below that say "token": the value `self` exists only where `detect` found the
// instructions. Loads and stores go through references to arrays of two registers' size.
impl Lanes for Avx2 {
    type F = Pair;
    type I = [__m256i; 2];
    const ROWS_MAX: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Pair {
        // SAFETY: token; 16 floats behind the reference.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Pair {
        // SAFETY: token; 16 halves behind the reference.
        unsafe {
            let at = from.as_ptr().cast::<__m128i>();
            [_mm256_cvtph_ps(_mm_loadu_si128(at)), _mm256_cvtph_ps(_mm_loadu_si128(at.add(1)))]
        }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Pair {
        // SAFETY: token; 16 halves behind the reference.
        unsafe {
            let at = from.as_ptr().cast::<__m128i>();
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(at));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.add(1)));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        }
    }
    #[inline(always)]
    fn store(self, x: Pair, to: &mut [f32; LANES]) {
        // SAFETY: token; 16 floats behind the reference.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn swap<const DISTANCE: usize>(self, [low, high]: Pair) -> Pair {
        // SAFETY: token.
        unsafe {
            match DISTANCE {
                1 => [
                    _mm256_permute_ps::<0b10_11_00_01>(low),
                    _mm256_permute_ps::<0b10_11_00_01>(high),
                ],
                2 => [
                    _mm256_permute_ps::<0b01_00_11_10>(low),
                    _mm256_permute_ps::<0b01_00_11_10>(high),
                ],
                4 => {
                    [_mm256_permute2f128_ps::<1>(low, low), _mm256_permute2f128_ps::<1>(high, high)]
                }
                _ => [high, low],
            }
        }
    }
    #[inline(always)]
    fn power_of_two(self, x: Pair) -> Pair {
        // SAFETY: token.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_add_epi32(_mm256_castps_si256(x[0]), bias);
            let high = _mm256_add_epi32(_mm256_castps_si256(x[1]), bias);
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(high)),
            ]
        }
    }
    #[inline(always)]
    fn to_float(self, x: Self::I) -> Pair {
        // SAFETY: token.
        unsafe { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    }
    #[inline(always)]
    fn field(self, line: &Line, shift: u32, mask: i32) -> Pair {
        // SAFETY: token; a line is 64 aligned bytes.
        unsafe {
            let at = line.0.as_ptr().cast::<__m256i>();
            let count = _mm_cvtsi32_si128(shift as i32);
            let mask = _mm256_set1_epi32(mask);
            let low = _mm256_srl_epi32(_mm256_load_si256(at), count);
            let high = _mm256_srl_epi32(_mm256_load_si256(at.add(1)), count);
            [
                _mm256_cvtepi32_ps(_mm256_and_si256(low, mask)),
                _mm256_cvtepi32_ps(_mm256_and_si256(high, mask)),
            ]
        }
    }

    #[inline(always)]
    fn dot<C: Codes, const SUBS: usize, const R: usize>(
        self,
        lines: &[[u8; 64]],
        quads: [&Quads; R],
        starts: [&[i32; 2]; R],
    ) -> [[Self::I; 2]; R] {
        // SAFETY: token.
        let zero = unsafe { _mm256_setzero_si256() };
        let mut sums = [[[zero; 2]; 2]; R];
        for half in 0..2 {
            let [a, b, c, d, e, f, g, h] = unpack::<C>(self, lines, half);
            for row in 0..R {
                let [q0, q1, q2, q3, q4, q5, q6, q7] = *quads[row];
                let second_start = if SUBS == 2 { starts[row][1] } else { 0 };
                let first = dot_groups::<C>(self, [a, b, c, d], [q0, q1, q2, q3], starts[row][0]);
                let second = dot_groups::<C>(self, [e, f, g, h], [q4, q5, q6, q7], second_start);
                if SUBS == 2 {
                    sums[row][0][half] = first;
                    sums[row][1][half] = second;
                } else {
                    // SAFETY: token.
                    sums[row][0][half] = unsafe { _mm256_add_epi32(first, second) };
                }
            }
        }
        sums
    }
}
