#![allow(clippy::unwrap_used)]

use candle_core::quantized::{GgmlDType, ggml_file::qtensor_from_ggml};
use candle_core::{Device, Tensor};
use half::f16;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::QMatrix;
use super::projection::{project, project_gated, project_onto};
use crate::activations::Activations;
use crate::gate::{Gate, gated};
use crate::norm::{RmsNorm, rms_norm};
use crate::path::Path;
use crate::storage::tests::{bits, device, noise};
use crate::threads::Threads;
use crate::weight_kind::WeightKind;

const BOTH: [Activations; 2] = [Activations::Int8, Activations::F32];

/// Random weights: every byte is random, but for scales, which are below 1 / 32, and floats.
pub(crate) fn weights(kind: WeightKind, rows: usize, columns: usize, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let blocks = rows * columns / kind.block_columns();
    let mut bytes = vec![0u8; blocks * kind.block_bytes()];
    random.fill(&mut bytes[..]);
    let halves: &[usize] = match kind {
        WeightKind::F32 | WeightKind::BF16 | WeightKind::F16 => &[],
        WeightKind::Q4_0 | WeightKind::Q5_0 | WeightKind::Q8_0 => &[0],
        WeightKind::Q4_1 | WeightKind::Q5_1 | WeightKind::Q4K | WeightKind::Q5K => &[0, 2],
        WeightKind::Q2K => &[80, 82],
        WeightKind::Q3K => &[108],
        WeightKind::Q6K => &[208],
    };
    for block in bytes.chunks_exact_mut(kind.block_bytes()) {
        let number: f32 = random.random_range(-1.0..1.0);
        match kind {
            WeightKind::F32 => block.copy_from_slice(&number.to_le_bytes()),
            WeightKind::F16 => block.copy_from_slice(&f16::from_f32(number).to_le_bytes()),
            WeightKind::BF16 => block.copy_from_slice(&number.to_le_bytes()[2..]),
            _ => {}
        }
        for at in halves {
            let scale = f16::from_f32(random.random_range(-1.0..1.0) / 32.0);
            block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}

fn matrix(kind: WeightKind, rows: usize, columns: usize, seed: u64) -> QMatrix {
    let bytes = weights(kind, rows, columns, seed);
    QMatrix::on_device(&device(), kind, rows, columns, &bytes).unwrap()
}

fn all_rows(matrix: &QMatrix) -> Vec<Vec<f32>> {
    let ids: Vec<u32> = (0..matrix.output_width() as u32).collect();
    matrix.rows(&ids).unwrap().to_vec2().unwrap()
}

fn candle_kind(kind: WeightKind) -> GgmlDType {
    match kind {
        WeightKind::F32 => GgmlDType::F32,
        WeightKind::F16 => GgmlDType::F16,
        WeightKind::BF16 => GgmlDType::BF16,
        WeightKind::Q4_0 => GgmlDType::Q4_0,
        WeightKind::Q4_1 => GgmlDType::Q4_1,
        WeightKind::Q5_0 => GgmlDType::Q5_0,
        WeightKind::Q5_1 => GgmlDType::Q5_1,
        WeightKind::Q8_0 => GgmlDType::Q8_0,
        WeightKind::Q2K => GgmlDType::Q2K,
        WeightKind::Q3K => GgmlDType::Q3K,
        WeightKind::Q4K => GgmlDType::Q4K,
        WeightKind::Q5K => GgmlDType::Q5K,
        WeightKind::Q6K => GgmlDType::Q6K,
    }
}

#[test]
fn every_kind_reads_as_candle_reads_it() {
    for kind in WeightKind::ALL {
        let (rows, columns) = (37, 512);
        let bytes = weights(kind, rows, columns, 1);
        let theirs =
            qtensor_from_ggml(candle_kind(kind), &bytes, vec![rows, columns], &Device::Cpu)
                .unwrap()
                .dequantize(&Device::Cpu)
                .unwrap();
        let ours = QMatrix::on_device(&device(), kind, rows, columns, &bytes).unwrap();
        assert_eq!(all_rows(&ours), theirs.to_vec2::<f32>().unwrap(), "{kind:?}");
    }
}

/// `f32` activations: within rounding of the exact sum. 8 bits: within half a step of each
/// activation, the step being 1 / 127 of the largest of its 32.
#[test]
fn products_are_within_their_bounds() {
    for kind in WeightKind::ALL {
        let (rows, columns) = (53, 768);
        let matrix = matrix(kind, rows, columns, 2);
        let x = noise(&[3, columns], 3);
        let weights = all_rows(&matrix);
        let xs = x.to_vec2::<f32>().unwrap();
        let [int8, float] =
            BOTH.map(|mode| matrix.forward(&x, mode).unwrap().to_vec2::<f32>().unwrap());
        for (i, x) in xs.iter().enumerate() {
            for (j, w) in weights.iter().enumerate() {
                let (mut exact, mut size, mut half_steps) = (0.0, 0.0, 0.0);
                for (x, w) in x.chunks(32).zip(w.chunks(32)) {
                    let largest = x.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                    for (x, w) in x.iter().zip(w) {
                        let (x, w) = (f64::from(*x), f64::from(*w));
                        exact += x * w;
                        size += (x * w).abs();
                        half_steps += w.abs() * f64::from(largest) / 127.0 / 2.0;
                    }
                }
                let float_error = (f64::from(float[i][j]) - exact).abs();
                assert!(float_error < 3e-6 * size, "{kind:?}: {float_error:e} of {size}");
                let int8_error = (f64::from(int8[i][j]) - exact).abs();
                // lows are as large as the rest and are rounded apart, hence the slack
                let bound = half_steps + 2e-5 * size;
                assert!(int8_error < bound, "{kind:?}: {int8_error:e}, bound {bound:e}");
            }
        }
    }
}

fn check_invariance(kind: WeightKind, rows: usize, columns: usize, m: usize, seed: u64) {
    let matrix = matrix(kind, rows, columns, seed);
    let x = noise(&[m, columns], seed + 1);
    for mode in BOTH {
        let all = matrix.forward(&x, mode).unwrap();
        for threads in [1, 3] {
            let pool = Threads::new(threads).unwrap();
            let same = pool.install(|| matrix.forward(&x, mode)).unwrap();
            assert_eq!(bits(&same), bits(&all), "{threads} threads");
        }
        for path in Path::available() {
            let same = matrix.forward_on(path, &x, mode).unwrap();
            assert_eq!(bits(&same), bits(&all), "{kind:?} {mode:?} {path:?}");
        }
        for i in 0..m {
            let alone = matrix.forward(&x.narrow(0, i, 1).unwrap(), mode).unwrap();
            assert_eq!(bits(&alone), bits(&all.narrow(0, i, 1).unwrap()), "{kind:?} row {i}");
        }
    }
}

#[test]
fn a_row_is_the_same_alone_on_any_threads_and_on_any_path() {
    for kind in WeightKind::ALL {
        check_invariance(kind, 83, 512, 15, 4);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn so_it_is_for_any_shape(
        kind in proptest::sample::select(&WeightKind::ALL[..]),
        rows in 1usize..70,
        blocks in 1usize..4,
        ragged in 0usize..32,
        m in 1usize..20,
        seed in any::<u32>(),
    ) {
        let columns = match kind.block_columns() {
            1 => 32 * blocks + ragged,
            block => block * blocks,
        };
        check_invariance(kind, rows, columns, m, u64::from(seed));
    }
}

/// The shape of a real feed-forward layer, large enough to be split over threads.
#[test]
fn a_large_product_is_split_without_a_trace() {
    let matrix = matrix(WeightKind::Q4_1, 1536, 576, 5);
    let x = noise(&[67, 576], 6);
    let one = Threads::new(1).unwrap();
    let four = Threads::new(4).unwrap();
    let all = four.install(|| matrix.forward(&x, Activations::Int8)).unwrap();
    assert_eq!(bits(&one.install(|| matrix.forward(&x, Activations::Int8)).unwrap()), bits(&all));
    for i in [0, 31, 66] {
        let alone = four.install(|| matrix.forward(&x.narrow(0, i, 1).unwrap(), Activations::Int8));
        assert_eq!(bits(&alone.unwrap()), bits(&all.narrow(0, i, 1).unwrap()));
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    for kind in WeightKind::ALL {
        let matrix = matrix(kind, 20, 256, 7);
        let clean = noise(&[3, 256], 8);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = clean.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values[256 + 77] = bad;
            let x = Tensor::from_vec(values, (3, 256), &device()).unwrap();
            for mode in BOTH {
                let (y, expected) =
                    (matrix.forward(&x, mode).unwrap(), matrix.forward(&clean, mode).unwrap());
                for row in [0, 2] {
                    let of = |y: &Tensor| bits(&y.narrow(0, row, 1).unwrap());
                    assert_eq!(of(&y), of(&expected));
                }
                let y = y.to_vec2::<f32>().unwrap();
                assert!(y[1].iter().all(|y| !y.is_finite()), "{kind:?} {mode:?} {bad}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let matrix = matrix(WeightKind::Q8_0, 20, 64, 9);
    assert!(matrix.rows(&[20]).is_err());
    assert!(matrix.forward(&noise(&[1, 32], 1), Activations::Int8).is_err());
    let transposed = noise(&[64, 2], 1).t().unwrap();
    assert!(matrix.forward(&transposed, Activations::Int8).is_err());
    let none = matrix.forward(&noise(&[1, 64], 1).narrow(0, 0, 0).unwrap(), Activations::Int8);
    assert_eq!(none.unwrap().dims(), [0, 20]);
}

/// What is computed in one go has the bits of its parts.
#[test]
fn projections_are_their_parts() {
    for kinds in [[WeightKind::Q4_1; 3], [WeightKind::Q5_0, WeightKind::Q8_0, WeightKind::Q6K]] {
        let matrices: Vec<QMatrix> = kinds
            .iter()
            .zip([70, 33, 16])
            .map(|(kind, rows)| matrix(*kind, rows, 256, 11))
            .collect();
        let up = matrix(kinds[0], 70, 256, 12);
        let weight = noise(&[256], 13);
        for m in [1, 2, 3, 7, 8, 9, 23] {
            let x = noise(&[m, 256], 14);
            let to = noise(&[m, 70], 15);
            for mode in BOTH {
                let threads = Threads::new(3).unwrap();
                let norm = RmsNorm { weight: &weight, eps: 1e-5 };
                let normed = rms_norm(&x, &weight, 1e-5).unwrap();
                let refs: Vec<&QMatrix> = matrices.iter().collect();
                let all = threads.install(|| project(&x, Some(norm), &refs, mode)).unwrap();
                for (one, matrix) in all.iter().zip(&matrices) {
                    assert_eq!(bits(one), bits(&matrix.forward(&normed, mode).unwrap()));
                }
                let plain = project(&x, None, &refs, mode).unwrap();
                assert_eq!(bits(&plain[0]), bits(&matrices[0].forward(&x, mode).unwrap()));
                for function in [Gate::Silu, Gate::Gelu] {
                    let pair = (&matrices[0], &up);
                    let one = threads.install(|| project_gated(&x, norm, pair, function, mode));
                    let parts = [&matrices[0], &up].map(|m| m.forward(&normed, mode).unwrap());
                    let parts = gated(&parts[0], &parts[1], function).unwrap();
                    assert_eq!(bits(&one.unwrap()), bits(&parts), "{kinds:?} {function:?} {m}");
                }
                let one = threads.install(|| project_onto(&x, &matrices[0], &to, mode)).unwrap();
                let parts = (&to + matrices[0].forward(&x, mode).unwrap()).unwrap();
                assert_eq!(bits(&one), bits(&parts), "{kinds:?} {m}");
            }
        }
    }
}

#[test]
fn projections_that_do_not_fit_are_refused() {
    let [small, large] = [32, 64].map(|columns| matrix(WeightKind::Q4_1, 20, columns, 16));
    let (x, int8) = (noise(&[2, 32], 17), Activations::Int8);
    let weight = noise(&[16], 18);
    let norm = RmsNorm { weight: &weight, eps: 1e-5 };
    assert!(project(&x, None, &[&small, &large], int8).is_err(), "two widths");
    assert!(project(&x, Some(norm), &[&small], int8).is_err(), "another norm");
    assert!(project_gated(&x, norm, (&small, &small), Gate::Silu, int8).is_err());
    for to in [&noise(&[2, 21], 19), &noise(&[3, 20], 19)] {
        assert!(project_onto(&x, &small, to, int8).is_err(), "another shape");
    }
    assert_eq!(project(&x, None, &[], int8).unwrap().len(), 0);
}
