//! The path that every target has, and that the others are tested against.

use half::{bf16, f16};

use super::{Codes, LANES, Lanes, Line, Quads};

/// Plain arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

type Array = [f32; LANES];

#[inline(always)]
fn each(a: Array, b: Array, f: impl Fn(f32, f32) -> f32) -> Array {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Lanes for Scalar {
    type F = Array;
    type I = [i32; LANES];
    const ROWS_MAX: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> Array {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Array) -> Array {
        *from
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Array {
        from.map(f16::to_f32)
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Array {
        from.map(|x| f32::from_bits(u32::from(x.to_bits()) << 16))
    }
    #[inline(always)]
    fn store(self, x: Array, to: &mut Array) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: Array, b: Array) -> Array {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Array, b: Array) -> Array {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Array, b: Array) -> Array {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Array, b: Array) -> Array {
        each(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Array, b: Array, c: Array) -> Array {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Array, b: Array) -> Array {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Array, b: Array) -> Array {
        each(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn swap<const DISTANCE: usize>(self, x: Array) -> Array {
        std::array::from_fn(|i| x[i ^ DISTANCE])
    }
    #[inline(always)]
    fn power_of_two(self, x: Array) -> Array {
        x.map(|x| f32::from_bits(x.to_bits().wrapping_add(127) << 23))
    }
    #[inline(always)]
    fn to_float(self, x: [i32; LANES]) -> Array {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn field(self, line: &Line, shift: u32, mask: i32) -> Array {
        let (words, _) = line.0.as_chunks::<4>();
        std::array::from_fn(|i| ((i32::from_le_bytes(words[i]) >> shift) & mask) as f32)
    }

    #[inline(always)]
    fn dot<C: Codes, const SUBS: usize, const R: usize>(
        self,
        lines: &[[u8; 64]],
        quads: [&Quads; R],
        starts: [&[i32; 2]; R],
    ) -> [[Self::I; 2]; R] {
        let mut sums: [[Self::I; 2]; R] = starts.map(|start| {
            let second = if SUBS == 2 { start[1] } else { 0 };
            [[start[0]; LANES], [second; LANES]]
        });
        for group in 0..8 {
            let (line, shift) = if C::LINES == 4 { (group % 4, group / 4 * 4) } else { (group, 0) };
            let sub = if SUBS == 2 { group / 4 } else { 0 };
            let mask = if C::LINES == 4 { 0x0f } else { 0xff };
            let (codes, _) = lines[line].as_chunks::<4>();
            for (sums, quads) in sums.iter_mut().zip(quads) {
                let x = quads[group].to_le_bytes().map(|x| i32::from(x as i8));
                for (sum, codes) in sums[sub].iter_mut().zip(codes) {
                    let code = codes.map(|code| i32::from((code >> shift) & mask));
                    *sum += code[0] * x[0] + code[1] * x[1] + code[2] * x[2] + code[3] * x[3];
                }
            }
        }
        sums
    }
}
