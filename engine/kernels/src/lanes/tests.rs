//! Every path against the scalar one, bit for bit.

use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Codes, FullBytes, LANES, Lanes, Line, Nibbles, Quads, SmallBytes};
use crate::path::{Kernel, Path, launch};

const HARD: [f32; LANES] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN_POSITIVE,
    1e-42,
    -3.4e-39,
    0.1,
    1234.567,
    -88.7,
    16_777_217.0,
    0.333_333_34,
];

/// The bits, with one NaN for all: which NaN an operation gives is not pinned.
fn bits(x: &[f32; LANES]) -> [u32; LANES] {
    x.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })
}

struct Floats<'a> {
    a: [f32; LANES],
    b: [f32; LANES],
    c: [f32; LANES],
    out: &'a mut Vec<[u32; LANES]>,
}

impl Kernel for Floats<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let [a, b, c] = [self.a, self.b, self.c].map(|x| l.load(&x));
        let halves = self.a.map(f16::from_f32);
        let brains = self.a.map(bf16::from_f32);
        let results = [
            l.add(a, b),
            l.sub(a, b),
            l.mul(a, b),
            l.div(a, b),
            l.fma(a, b, c),
            l.max(a, b),
            l.min(a, b),
            l.swap::<1>(a),
            l.swap::<2>(a),
            l.swap::<4>(a),
            l.swap::<8>(a),
            l.power_of_two(l.add(c, l.splat(12_582_912.0))),
            l.load_f16(&halves),
            l.load_bf16(&brains),
            crate::float::exp_lanes(l, a),
            crate::float::tanh_lanes(l, a),
        ];
        for result in results {
            let mut lanes = [0.0; LANES];
            l.store(result, &mut lanes);
            self.out.push(bits(&lanes));
        }
    }
}

#[test]
fn float_operations_agree() {
    for turn in 0..LANES {
        let (a, mut b, mut c) = (HARD, HARD, HARD);
        b.rotate_left(turn);
        c.rotate_left(7 * turn % LANES);
        let on = |path| {
            let mut out = Vec::new();
            launch(path, Floats { a, b, c, out: &mut out });
            out
        };
        for path in Path::available() {
            assert_eq!(on(path), on(Path::Scalar), "{path:?} turn {turn}");
        }
    }
}

struct Dot<'a, C> {
    lines: &'a [Line],
    quads: [Quads; 2],
    starts: [[i32; 2]; 2],
    out: &'a mut Vec<[u32; LANES]>,
    codes: std::marker::PhantomData<C>,
}

impl<C: Codes> Kernel for Dot<'_, C> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (quads, starts) = (self.quads.each_ref(), self.starts.each_ref());
        let whole =
            l.dot::<C, 1, 2>(Line::bytes(self.lines), quads, starts).map(|[sum, _]| [sum, sum]);
        // only kinds with small codes scale 16 columns apart
        let halves = match C::MAX {
            255 => whole,
            _ => l.dot::<C, 2, 2>(Line::bytes(self.lines), quads, starts),
        };
        for sum in whole.into_iter().chain(halves).flatten() {
            let mut lanes = [0.0; LANES];
            l.store(l.to_float(sum), &mut lanes);
            self.out.push(bits(&lanes));
        }
        for shift in [0, 4, 8, 20, 24] {
            let mut lanes = [0.0; LANES];
            l.store(l.field(&self.lines[1], shift, 15), &mut lanes);
            self.out.push(bits(&lanes));
        }
    }
}

/// Random and extreme codes and activations.
fn check_dots<C: Codes>(_: C) {
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..200 {
        let mut code = || match round % 3 {
            0 => C::MAX as u8,
            1 => 0,
            _ => random.random_range(0..=C::MAX) as u8,
        };
        let line = |code: &mut dyn FnMut() -> u8| {
            Line(std::array::from_fn(|_| match C::LINES {
                4 => code() | code() << 4,
                _ => code(),
            }))
        };
        let lines: Vec<Line> = (0..C::LINES).map(|_| line(&mut code)).collect();
        let mut x = |_| match round % 5 {
            0 => 127i8,
            1 => -127,
            _ => random.random_range(-127..=127),
        };
        let bytes: [[i8; 32]; 2] = [std::array::from_fn(&mut x), std::array::from_fn(&mut x)];
        let quads = bytes.map(|bytes| {
            std::array::from_fn(|i| {
                i32::from_le_bytes(std::array::from_fn(|j| bytes[4 * i + j] as u8))
            })
        });
        let starts = bytes.map(|bytes| {
            let sum = |part: &[i8]| -128 * part.iter().map(|x| i32::from(*x)).sum::<i32>();
            match C::MAX {
                255 => [sum(&bytes), 0],
                _ => [sum(&bytes[..16]), sum(&bytes[16..])],
            }
        });
        let on = |path| {
            let mut out = Vec::new();
            launch(
                path,
                Dot {
                    lines: &lines,
                    quads,
                    starts,
                    out: &mut out,
                    codes: std::marker::PhantomData::<C>,
                },
            );
            out
        };
        let expected = on(Path::Scalar);
        for path in Path::available() {
            assert_eq!(on(path), expected, "{path:?} round {round}");
        }
    }
}

#[test]
fn integer_products_agree() {
    check_dots(Nibbles);
    check_dots(SmallBytes);
    check_dots(FullBytes);
}
