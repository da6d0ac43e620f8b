//! Products and rows of every kind.

use super::super::matrix::{Product, Rows};
use super::{at, bits, cpu, numbers, output, values};
use crate::q_matrix::tests::weights;
use crate::{Activations, QMatrix, WeightKind};

fn product(kind: WeightKind, bytes: &[u8], columns: usize, rows: usize, x: &[f32]) -> Vec<f32> {
    let count = x.len() / columns;
    output(count * rows, |out| {
        let (rows, columns, count) = (rows as u32, columns as u32, count as u32);
        Product { weights: at(bytes), x: at(x), out, rows, columns, count }.launch(kind)
    })
}

#[test]
fn rows_are_those_of_the_cpu() {
    for kind in WeightKind::ALL {
        let (rows, columns) = (5, 512);
        let bytes = weights(kind, rows, columns, 1);
        let ids = [4, 0, 3];
        let out = output(3 * columns, |out| {
            let columns = columns as u32;
            Rows { weights: at(&bytes), ids: at(&ids), out, columns }.launch(kind, 3)
        });
        let matrix = QMatrix::from_ggml(kind, rows, columns, &bytes).unwrap();
        // a code of zero under a negative scale is -0 here, which is equal
        assert_eq!(out, values(&matrix.rows(&ids).unwrap()), "{kind:?}");
    }
}

#[test]
fn products_are_within_rounding_of_the_exact_sum() {
    for kind in WeightKind::ALL {
        let (rows, count) = (11, 9);
        let columns = if kind.block_columns() == 1 { 75 } else { 512 };
        let bytes = weights(kind, rows, columns, 2);
        let x = numbers(count * columns, 1.0, 3);
        let matrix = QMatrix::from_ggml(kind, rows, columns, &bytes).unwrap();
        let ids: Vec<u32> = (0..rows as u32).collect();
        let weights = matrix.rows(&ids).unwrap().to_vec2::<f32>().unwrap();
        let out = product(kind, &bytes, columns, rows, &x);
        for (x, out) in x.chunks(columns).zip(out.chunks(rows)) {
            for (w, y) in weights.iter().zip(out) {
                let terms = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let (exact, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                assert!((f64::from(*y) - exact).abs() < 1e-6 * size, "{kind:?}: {y} and {exact}");
            }
        }
        let theirs = matrix.forward(&cpu(&x, &[count, columns]), Activations::F32).unwrap();
        let largest = values(&theirs).iter().fold(1.0f32, |most, y| most.max(y.abs()));
        let apart = out.iter().zip(values(&theirs)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5 * largest, "{kind:?}: {apart} of {largest}");
    }
}

#[test]
fn a_row_is_the_same_alone_and_in_any_place() {
    for kind in [WeightKind::F32, WeightKind::Q4_1, WeightKind::Q6K] {
        let (rows, columns, count) = (9, 256, 17);
        let bytes = weights(kind, rows, columns, 4);
        let x = numbers(count * columns, 1.0, 5);
        let all = product(kind, &bytes, columns, rows, &x);
        for (place, x) in x.chunks(columns).enumerate() {
            let alone = product(kind, &bytes, columns, rows, x);
            assert_eq!(bits(&alone), bits(&all[place * rows..][..rows]), "{kind:?} {place}");
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let (kind, rows, columns) = (WeightKind::Q8_0, 8, 64);
    let bytes = weights(kind, rows, columns, 6);
    let clean = numbers(3 * columns, 1.0, 7);
    let mut broken = clean.clone();
    broken[columns + 13] = f32::NAN;
    let [clean, broken] = [clean, broken].map(|x| product(kind, &bytes, columns, rows, &x));
    assert_eq!(bits(&broken[..rows]), bits(&clean[..rows]));
    assert!(broken[rows..2 * rows].iter().all(|y| y.is_nan()));
    assert_eq!(bits(&broken[2 * rows..]), bits(&clean[2 * rows..]));
}
