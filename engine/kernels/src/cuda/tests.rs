//! The kernels on the emulator against the ops of the CPU.
#![allow(clippy::unwrap_used, unsafe_code)]

mod attention;
mod matrix;

use candle_core::{Device, Tensor};
use half::f16;

use super::elements::{Gated, SoftCap};
use super::emulator;
use super::kv_cache::{WriteKv, last_of_each};
use super::launch::{Arguments, Launch};
use super::norm::RmsNorm;
use super::rope::Rope;
use super::softmax::Softmax;
use crate::gate::Gate;
use crate::{RopeScaling, RopeStyle, RopeTable};

/// Numbers in -`most`..`most`, the same everywhere.
fn numbers(count: usize, most: f32, seed: u64) -> Vec<f32> {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-most..most)).collect()
}

fn cpu(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn at<T>(x: &[T]) -> u64 {
    x.as_ptr() as u64
}

/// Runs what `launch` makes of the address of `count` floats, and gives those: NaN where the kernel
/// wrote nothing.
fn output<A: Arguments>(count: usize, launch: impl FnOnce(u64) -> Launch<A>) -> Vec<f32> {
    let mut out = vec![f32::NAN; count];
    let launch = launch(out.as_mut_ptr() as u64);
    // SAFETY: the callers' arguments lead to vectors that are as long as the shapes say.
    unsafe { emulator::run(launch) };
    out
}

/// Within `bound` of the larger of 1 and the value.
#[track_caller]
fn close(ours: &[f32], theirs: &[f32], bound: f32) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (x, y)) in ours.iter().zip(theirs).enumerate() {
        assert!((x - y).abs() <= bound * y.abs().max(1.0), "{i}: {x} and {y}");
    }
}

#[test]
fn gates_and_caps_have_the_bits_of_the_cpu() {
    let edges = [f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0, -0.0, 88.0, -88.0];
    let mut gate = numbers(700, 20.0, 1);
    gate.extend(edges);
    let up = numbers(gate.len(), 3.0, 2);
    let shape = [gate.len()];
    let (gate_tensor, up_tensor) = (cpu(&gate, &shape), cpu(&up, &shape));
    for (kind, expected) in [
        (Gate::Silu, crate::gated(&gate_tensor, &up_tensor, Gate::Silu).unwrap()),
        (Gate::Gelu, crate::gated(&gate_tensor, &up_tensor, Gate::Gelu).unwrap()),
    ] {
        let out = output(gate.len(), |out| {
            let count = gate.len() as u64;
            Gated { gate: at(&gate), up: at(&up), out, count }.launch(kind)
        });
        for (i, (x, y)) in out.iter().zip(values(&expected)).enumerate() {
            let same = x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
            assert!(same, "{kind:?} of {}: {x} and {y}", gate[i]);
        }
    }
    let capped = output(700, |out| SoftCap { x: at(&gate), out, count: 700, cap: 7.5 }.launch());
    let expected = crate::soft_cap(&cpu(&gate[..700], &[700]), 7.5).unwrap();
    assert_eq!(bits(&capped), bits(&values(&expected)));
}

#[test]
fn norms_are_close_and_a_row_is_the_same_alone() {
    for width in [1, 31, 256, 576, 601] {
        let (x, weight) = (numbers(3 * width, 2.0, 3), numbers(width, 1.0, 4));
        let norm = |x: &[f32]| {
            output(x.len(), |out| {
                let (weight, width, epsilon) = (at(&weight), width as u32, 1e-5);
                RmsNorm { x: at(x), weight, out, width, epsilon }.launch(x.len() / width as usize)
            })
        };
        let all = norm(&x);
        let expected =
            crate::rms_norm(&cpu(&x, &[3, width]), &cpu(&weight, &[width]), 1e-5).unwrap();
        close(&all, &values(&expected), 1e-6);
        for (row, all) in x.chunks(width).zip(all.chunks(width)) {
            assert_eq!(bits(&norm(row)), bits(all));
        }
    }
}

#[test]
fn softmax_is_close_and_a_row_is_the_same_alone() {
    for width in [1, 77, 256, 700] {
        let x = numbers(3 * width, 20.0, 5);
        let softmax = |x: &[f32]| {
            output(x.len(), |out| {
                Softmax { x: at(x), out, width: width as u32 }.launch(x.len() / width)
            })
        };
        let all = softmax(&x);
        close(&all, &values(&crate::softmax(&cpu(&x, &[3, width])).unwrap()), 2e-7);
        for (row, all) in x.chunks(width).zip(all.chunks(width)) {
            assert_eq!(bits(&softmax(row)), bits(all));
        }
    }
}

#[test]
fn rotations_have_the_bits_of_the_cpu() {
    let (heads, width, positions) = (3, 20, [0, 1, 777, 8191]);
    let x = numbers(positions.len() * heads * width, 2.0, 6);
    for style in [RopeStyle::Interleaved, RopeStyle::Halves] {
        let table = RopeTable::new(style, 16, 10_000.0, &RopeScaling::None, 9000).unwrap();
        let out = output(x.len(), |out| {
            Rope {
                x: at(&x),
                turns: at(table.turns()),
                positions: at(&positions),
                out,
                heads: heads as u32,
                width: width as u32,
                pairs: 8,
                halves: u32::from(style == RopeStyle::Halves),
            }
            .launch(positions.len())
        });
        let x = cpu(&x, &[positions.len(), heads, width]);
        assert_eq!(bits(&out), bits(&values(&crate::rope(&x, &positions, &table).unwrap())));
    }
}

#[test]
fn halves_are_rounded_as_the_cpu_rounds_them() {
    // ties both ways, the edges of normal numbers, what is too large, and many more
    let mut rows: Vec<f32> = [1.0f32, 2049.0 / 2048.0, 65504.0, 65519.0, 65520.0, 1e9, 6.1e-5]
        .into_iter()
        .chain([6.103_515_6e-5, 5.96e-8, 2.98e-8, 2.99e-8, 1e-9, 0.0, -0.0, 3.0e-5, 1.5e-5])
        .flat_map(|x| [x, -x])
        .collect();
    rows.extend(numbers(2048 - rows.len(), 1.0, 7).iter().map(|x| x * x * x));
    let mut halves = vec![f16::NAN; rows.len()];
    let slots: Vec<u32> = (0..64).rev().collect();
    let sources: Vec<u32> = (0..64).collect();
    let (rows_at, sources, slots_at) = (at(&rows), at(&sources), at(&slots));
    let write = WriteKv {
        rows: rows_at,
        sources,
        slots: slots_at,
        cache: halves.as_mut_ptr() as u64,
        width: 32,
        half: 1,
    };
    // SAFETY: 64 rows of 32 go to 64 slots; nobody else looks at the halves meanwhile.
    unsafe { emulator::run(write.launch(64)) };
    for (row, slot) in rows.chunks(32).zip(&slots) {
        let expected: Vec<u16> = row.iter().map(|x| f16::from_f32(*x).to_bits()).collect();
        let found = &halves[*slot as usize * 32..][..32];
        assert_eq!(found.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected, "{row:?}");
    }
}

#[test]
fn floats_stay_as_they_are_in_a_cache_of_floats() {
    let rows = numbers(3 * 48, 1.0, 8);
    let (sources, slots) = last_of_each(&[9, 2, 9]);
    let cache = output(10 * 48, |cache| {
        let (sources, slots) = (at(&sources), at(&slots));
        WriteKv { rows: at(&rows), sources, slots, cache, width: 48, half: 0 }.launch(2)
    });
    assert_eq!(cache[2 * 48..3 * 48], rows[48..96]);
    assert_eq!(cache[9 * 48..], rows[96..]);
    assert_eq!(cache.iter().filter(|x| x.is_nan()).count(), 8 * 48);
}

#[test]
fn of_rows_with_one_slot_the_last_stays() {
    assert_eq!(last_of_each(&[]), (vec![], vec![]));
    assert_eq!(last_of_each(&[5, 7, 5, 5, 1]), (vec![1, 3, 4], vec![7, 5, 1]));
}
