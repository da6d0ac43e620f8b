//! Sine, cosine, exponential and logarithm in f64, for tables that are made once.

use std::f64::consts::LN_2;

/// Sine and cosine of `x`, for `|x|` up to 2^20, within 1e-15.
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    // pi / 2 in three parts; the first two have 33 bits, so that their products with `n` are exact
    // (fdlibm, `e_rem_pio2.c`)
    const FIRST: f64 = 1.570_796_326_734_125_6;
    const SECOND: f64 = 6.077_100_506_303_966e-11;
    const THIRD: f64 = 2.022_266_248_795_950_6e-21;
    let n = (x * std::f64::consts::FRAC_2_PI).round();
    let r = ((x - n * FIRST) - n * SECOND) - n * THIRD;
    let square = r * r;
    // Taylor to r^17 and r^18: the next terms are below 1e-18 for |r| <= pi / 4
    let sine = r * series(square, 1);
    let cosine = series(square, 0);
    match (n as i64).rem_euclid(4) {
        0 => (sine, cosine),
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        _ => (-cosine, sine),
    }
}

/// `1 - s / ((o+1)(o+2)) (1 - s / ((o+3)(o+4)) (...))`: of cosine for `odd` 0, of sine for 1.
fn series(square: f64, odd: u32) -> f64 {
    (0..9).rev().fold(1.0, |rest, k| {
        let (a, b) = (f64::from(2 * k + 1 + odd), f64::from(2 * k + 2 + odd));
        1.0 - square / (a * b) * rest
    })
}

/// `e^x` for `|x|` up to 700, within 1e-15 relative.
pub(crate) fn exp_f64(x: f64) -> f64 {
    let n = (x / LN_2).round();
    // ln 2 in two parts (fdlibm, `e_exp.c`)
    let r = (x - n * 6.931_471_803_691_238e-1) - n * 1.908_214_929_270_587_7e-10;
    let power = (1..20).rev().fold(1.0, |rest, k| 1.0 + r / f64::from(k) * rest);
    power * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// `ln x` for normal positive `x`, within 1e-15 relative to the larger of the result and 1.
pub(crate) fn ln_f64(x: f64) -> f64 {
    assert!(x.is_normal() && x > 0.0, "logarithm of {x}");
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | 1023 << 52);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is below 0.172
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let sum = (0..16).rev().fold(0.0, |rest, k| 1.0 / f64::from(2 * k + 1) + square * rest);
    2.0 * t * sum + exponent as f64 * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_platform() {
        for i in 0..100_000 {
            let x = f64::from(i) * 10.487 - 100.0;
            let (sine, cosine) = sin_cos(x);
            assert!((sine - x.sin()).abs() < 1e-15, "sin {x}");
            assert!((cosine - x.cos()).abs() < 1e-15, "cos {x}");
        }
        for i in 1..20_000 {
            let x = f64::from(i) * 0.731;
            assert!((ln_f64(x) - x.ln()).abs() < 1e-14, "ln {x}");
            let y = f64::from(i) * 0.06 - 600.0;
            assert!((exp_f64(y) / y.exp() - 1.0).abs() < 1e-14, "exp {y}");
        }
    }
}
