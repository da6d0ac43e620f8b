#![allow(clippy::unwrap_used)]
use super::*;
use crate::storage::tests::{bits, noise};

/// `frequency` and `size` are what the scaling makes of the pair `i` and of the length.
fn check(style: RopeStyle, scaling: &RopeScaling, frequency: impl Fn(usize) -> f64, size: f64) {
    let (heads, head_width, width) = (3, 20, 16);
    let table = RopeTable::new(style, width, 10_000.0, scaling, 9000).unwrap();
    let positions = [0, 1, 8191, 7, 4096];
    let x = noise(&[positions.len(), heads, head_width], 1);
    let all = rope(&x, &positions, &table).unwrap();
    for path in Path::available() {
        let other =
            x.apply_op1_no_bwd(&Rope { path, positions: &positions, table: &table }).unwrap();
        assert_eq!(bits(&other), bits(&all), "{path:?}");
    }
    let (xs, ys) = (x.to_vec3::<f32>().unwrap(), all.to_vec3::<f32>().unwrap());
    for (row, position) in positions.iter().enumerate() {
        for head in 0..heads {
            let (x, y) = (&xs[row][head], &ys[row][head]);
            for i in 0..width / 2 {
                let (a, b) = match style {
                    RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                    RopeStyle::Halves => (i, i + width / 2),
                };
                let angle = f64::from(*position) * frequency(i);
                let (p, q) = (size * f64::from(x[a]), size * f64::from(x[b]));
                let exact = [p * angle.cos() - q * angle.sin(), p * angle.sin() + q * angle.cos()];
                assert!((f64::from(y[a]) - exact[0]).abs() < 1e-6);
                assert!((f64::from(y[b]) - exact[1]).abs() < 1e-6);
            }
            assert_eq!(x[width..], y[width..]);
        }
    }
}

/// The frequency of a pair before any scaling.
fn plain(i: usize) -> f64 {
    10_000f64.powf(-(i as f64) / 8.0)
}

#[test]
fn both_styles_turn_by_position() {
    check(RopeStyle::Interleaved, &RopeScaling::None, plain, 1.0);
    check(RopeStyle::Halves, &RopeScaling::None, plain, 1.0);
}

#[test]
fn frequencies_are_divided_all_alike_or_each_by_its_own() {
    let linear = RopeScaling::Linear { factor: 4.0 };
    check(RopeStyle::Halves, &linear, |i| plain(i) / 4.0, 1.0);
    let list = [1.0, 1.5, 2.0, 2.5, 4.0, 8.0, 8.0, 8.0];
    let factors = RopeScaling::Factors { divisors: list.to_vec(), attention_factor: 1.25 };
    check(RopeStyle::Halves, &factors, |i| plain(i) / f64::from(list[i]), 1.25);
}

/// In the form of the model's makers, by wavelengths (llama-models, `apply_scaling`).
#[test]
fn llama3_blends_by_wavelength() {
    let (low, high, original) = (1.0, 4.0, 1000.0);
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: low as f32,
        high_frequency_factor: high as f32,
        original_context: original as u32,
    };
    let frequency = |i| {
        let wavelength = std::f64::consts::TAU / plain(i);
        if wavelength < original / high {
            return plain(i);
        }
        if wavelength > original / low {
            return plain(i) / 8.0;
        }
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * plain(i) / 8.0 + smooth * plain(i)
    };
    let changed = |i: &usize| frequency(*i) < plain(*i);
    let divided = |i: &usize| frequency(*i) == plain(*i) / 8.0;
    assert_eq!((0..8).filter(changed).count(), 4);
    assert_eq!((0..8).filter(divided).count(), 3, "one pair is between");
    check(RopeStyle::Halves, &scaling, frequency, 1.0);
}

/// With the bounds of the ramp worked out by hand: of pairs 0 to 7 over 1,000 positions, pair `i` turns
/// `1000 * 10^(-i / 2) / 2 pi` times: 159.2, 50.3, 15.9, 5.03, 1.59, 0.50, 0.16, 0.05. So 32 turns lie
/// between the pairs 1 and 2, one turn between 4 and 5: the ramp goes from pair 1 to pair 5.
#[test]
fn yarn_blends_by_turns() {
    let scaling = RopeScaling::Yarn {
        factor: 4.0,
        original_context: 1000,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 1.2,
    };
    let divided = [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0];
    let frequency = |i: usize| plain(i) / 4.0 * divided[i] + plain(i) * (1.0 - divided[i]);
    check(RopeStyle::Halves, &scaling, frequency, f64::from(1.2_f32));
}

/// The numbers of Qwen2.5 with YaRN by 4, and of Phi-3-mini-128k.
#[test]
fn longer_contexts_sharpen_attention() {
    assert_eq!(RopeScaling::yarn_attention_factor(4.0), 1.138_629_4);
    assert_eq!(RopeScaling::yarn_attention_factor(0.5), 1.0);
    assert_eq!(RopeScaling::long_attention_factor(32.0, 4096), 1.190_238_1);
    assert_eq!(RopeScaling::long_attention_factor(1.0, 4096), 1.0);
}

#[test]
fn what_does_not_fit_is_refused() {
    let none = RopeScaling::None;
    assert!(RopeTable::new(RopeStyle::Halves, 7, 1e4, &none, 8).is_err());
    assert!(RopeTable::new(RopeStyle::Halves, 8, 0.0, &none, 8).is_err());
    let factors = |divisors, attention_factor| RopeScaling::Factors { divisors, attention_factor };
    let llama3 = |low_frequency_factor, original_context| RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor,
        high_frequency_factor: 4.0,
        original_context,
    };
    let yarn = |beta_fast, original_context| RopeScaling::Yarn {
        factor: 8.0,
        original_context,
        beta_fast,
        beta_slow: 1.0,
        attention_factor: 1.0,
    };
    for scaling in [
        factors(vec![1.0], 1.0),
        factors(vec![0.0; 4], 1.0),
        factors(vec![1.0; 4], f32::NAN),
        factors(vec![1e-30; 4], 1.0),
        RopeScaling::Linear { factor: -1.0 },
        llama3(4.0, 100),
        llama3(1.0, 0),
        yarn(1.0, 100),
        yarn(32.0, 0),
    ] {
        assert!(RopeTable::new(RopeStyle::Halves, 8, 1e4, &scaling, 8).is_err(), "{scaling:?}");
    }
    let table = RopeTable::new(RopeStyle::Halves, 8, 1e4, &none, 8).unwrap();
    let x = noise(&[1, 1, 8], 1);
    assert!(rope(&x, &[8], &table).is_err());
    assert!(rope(&x, &[1, 2], &table).is_err());
}
