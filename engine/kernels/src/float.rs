//! Functions of floats that give the same bits everywhere: polynomials of +, -, *, / and fused
//! multiply-add, no libm.

mod trig;

pub(crate) use trig::{exp_f64, ln_f64, sin_cos};

use crate::lanes::{LANES, Lanes, Scalar};

/// `e^x` of 16 lanes, within 2 units in the last place; 0 below about -87.7 (results that would be
/// subnormal included), at most about 2.2e38, NaN for NaN.
///
/// `2^n * e^r` with `|r| <= ln 2 / 2`; the polynomial is Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp_lanes<L: Lanes>(l: L, x: L::F) -> L::F {
    // the second operand survives where it is NaN
    let x = l.max(l.splat(-88.0), l.min(l.splat(88.3), x));
    // adding 1.5 * 2^23 leaves the nearest integer in the low bits
    let magic = l.splat(12_582_912.0);
    let biased = l.fma(x, l.splat(std::f32::consts::LOG2_E), magic);
    let n = l.sub(biased, magic);
    let r = l.fma(n, l.splat(-0.693_359_4), x);
    let r = l.fma(n, l.splat(2.121_944_4e-4), r);
    let mut p = l.splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = l.fma(p, r, l.splat(coefficient));
    }
    let p = l.add(l.fma(p, l.mul(r, r), r), l.splat(1.0));
    l.mul(p, l.power_of_two(biased))
}

/// `e^x` as the kernels compute it, the same bits on every machine; see [`exp_lanes`]'s bounds: within
/// 2 units in the last place, 0 below about -87.7, at most about 2.2e38, NaN for NaN.
pub fn exp(x: f32) -> f32 {
    exp_lanes(Scalar, [x; LANES])[0]
}

/// `tanh x` of 16 lanes, within 2e-7 (absolute); NaN for NaN.
#[inline(always)]
pub(crate) fn tanh_lanes<L: Lanes>(l: L, x: L::F) -> L::F {
    let above = l.add(exp_lanes(l, l.add(x, x)), l.splat(1.0));
    l.sub(l.splat(1.0), l.div(l.splat(2.0), above))
}

/// The sum of 16 lanes, always in the same order: halves onto each other.
#[inline(always)]
pub(crate) fn sum_lanes<L: Lanes>(l: L, x: L::F) -> f32 {
    let mut lanes = [0.0; LANES];
    l.store(x, &mut lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest of 16 lanes; lanes that are NaN do not count unless all are.
#[inline(always)]
pub(crate) fn max_lanes<L: Lanes>(l: L, x: L::F) -> f32 {
    let mut lanes = [0.0; LANES];
    l.store(x, &mut lanes);
    lanes.into_iter().fold(f32::NEG_INFINITY, |max, x| if x > max { x } else { max })
}

/// One of 16 equal lanes.
#[inline(always)]
pub(crate) fn first_lane<L: Lanes>(l: L, x: L::F) -> f32 {
    let mut lanes = [0.0; LANES];
    l.store(x, &mut lanes);
    lanes[0]
}

/// Up to 16 numbers as lanes, filled up with `rest`.
#[inline(always)]
pub(crate) fn load_part<L: Lanes>(l: L, from: &[f32], rest: f32) -> L::F {
    let mut lanes = [rest; LANES];
    lanes[..from.len()].copy_from_slice(from);
    l.load(&lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        let mut worst = 0.0_f64;
        for i in 0..200_000 {
            let x = -87.3 + i as f32 * (175.3 / 200_000.0);
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "relative error {worst:e}");
    }

    #[test]
    fn tanh_is_close_everywhere() {
        let tanh = |x| tanh_lanes(Scalar, [x; LANES])[0];
        for i in 0..200_000 {
            let x = -10.0 + i as f32 * 1e-4;
            let error = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(error < 2e-7, "tanh {x}: {error:e}");
        }
        assert_eq!([f32::NEG_INFINITY, 0.0, f32::INFINITY].map(tanh), [-1.0, 0.0, 1.0]);
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::INFINITY) > 2e38 && exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }
}
