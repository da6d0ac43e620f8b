//! One 512-bit register a vector, `vpdpbusd` for the integer products.
//!
//! No closures around intrinsics, here and in the kernels' hot loops: a closure is a function of its
//! own, without the target features, unless the compiler happens to inline it early.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Codes, LANES, Lanes, Line, Quads};
use crate::path::Path;

/// Proof that the CPU has AVX-512 F, BW, VL and VNNI (and AVX2, FMA, F16C).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Avx512> {
        Path::Avx512.has().then_some(Avx512(()))
    }
}

/// The 8 groups of 4 columns of a block, each a register of 16 rows.
#[inline(always)]
fn unpack<C: Codes>(_: Avx512, lines: &[[u8; 64]]) -> [__m512i; 8] {
    assert!(lines.len() >= C::LINES);
    // SAFETY: the token proves AVX-512; the loads read whole lines, whose count is asserted.
    unsafe {
        let mut codes = [_mm512_setzero_si512(); 8];
        for i in 0..C::LINES {
            let line = _mm512_loadu_si512(lines[i].as_ptr().cast());
            if C::LINES == 4 {
                let mask = _mm512_set1_epi8(0x0f);
                codes[i] = _mm512_and_si512(line, mask);
                codes[i + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(line), mask);
            } else {
                codes[i] = line;
            }
        }
        codes
    }
}

// SAFETY of all blocks below that say "token": the value `self` exists only where `detect` found the
// instructions. Loads and stores go through references to arrays of the register's size.
impl Lanes for Avx512 {
    type F = __m512;
    type I = __m512i;
    const ROWS_MAX: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        // SAFETY: token; 16 floats behind the reference.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> __m512 {
        // SAFETY: token; 16 halves behind the reference.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> __m512 {
        // SAFETY: token; 16 halves behind the reference.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }
    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; LANES]) {
        // SAFETY: token; 16 floats behind the reference.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn swap<const DISTANCE: usize>(self, x: __m512) -> __m512 {
        // SAFETY: token.
        unsafe {
            match DISTANCE {
                1 => _mm512_permute_ps::<0b10_11_00_01>(x),
                2 => _mm512_permute_ps::<0b01_00_11_10>(x),
                4 => _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x),
                _ => _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x),
            }
        }
    }
    #[inline(always)]
    fn power_of_two(self, x: __m512) -> __m512 {
        // SAFETY: token.
        unsafe {
            let biased = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn to_float(self, x: __m512i) -> __m512 {
        // SAFETY: token.
        unsafe { _mm512_cvtepi32_ps(x) }
    }
    #[inline(always)]
    fn field(self, line: &Line, shift: u32, mask: i32) -> __m512 {
        // SAFETY: token; a line is 64 aligned bytes.
        unsafe {
            let words = _mm512_load_si512(line.0.as_ptr().cast());
            let shifted = _mm512_srl_epi32(words, _mm_cvtsi32_si128(shift as i32));
            _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(mask)))
        }
    }

    #[inline(always)]
    fn dot<C: Codes, const SUBS: usize, const R: usize>(
        self,
        lines: &[[u8; 64]],
        quads: [&Quads; R],
        starts: [&[i32; 2]; R],
    ) -> [[__m512i; 2]; R] {
        let codes = unpack::<C>(self, lines);
        // SAFETY: token. A code is at most 255, so no sum of 32 products leaves an i32.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); 2]; R];
            for row in 0..R {
                let mut first = _mm512_set1_epi32(starts[row][0]);
                let mut second = sums[row][1];
                if SUBS == 2 {
                    second = _mm512_set1_epi32(starts[row][1]);
                }
                for group in 0..4 {
                    let x = _mm512_set1_epi32(quads[row][group]);
                    first = _mm512_dpbusd_epi32(first, codes[group], x);
                    let x = _mm512_set1_epi32(quads[row][group + 4]);
                    // many rows keep the unit busy with one sum each
                    if SUBS == 1 && R >= 4 {
                        first = _mm512_dpbusd_epi32(first, codes[group + 4], x);
                    } else {
                        second = _mm512_dpbusd_epi32(second, codes[group + 4], x);
                    }
                }
                if SUBS == 2 {
                    sums[row] = [first, second];
                } else if R >= 4 {
                    sums[row][0] = first;
                } else {
                    sums[row][0] = _mm512_add_epi32(first, second);
                }
            }
            sums
        }
    }
}
