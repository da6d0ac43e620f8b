//! What this machine can do at most: the ceiling that `kernels` is held against.
//!
//! `cargo bench -p engine-kernels --bench machine`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use engine_kernels::{Path, Threads};
use rayon::prelude::*;

/// As many bytes as one token of SmolLM2-135M reads; more than the caches hold.
const SWEEP_BYTES: usize = 97_000_000;
/// Integer products of one call of the loop.
const STEPS: u64 = 1 << 16;

criterion_group! {
    name = machine;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(100)
        .nresamples(1000);
    targets = integer_products, memory
}
criterion_main!(machine);

/// One thread, and all of them.
fn thread_counts() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = vec![1, all];
    counts.dedup();
    counts
}

fn pool(threads: usize) -> Threads {
    Threads::new(threads).expect("threads can be started")
}

/// Products of 8-bit integers on the best path that there is: out of registers, and with the work that
/// 32 columns of 4-bit weights with a scale and a low end ask for beside them.
fn integer_products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peak");
    group.sampling_mode(SamplingMode::Flat);
    for (name, products, run) in peak_loops() {
        for threads in thread_counts() {
            group.throughput(Throughput::Elements(products * threads as u64));
            group.bench_function(format!("{name}/threads {threads}"), |bencher| {
                bencher.iter(|| {
                    (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
                        black_box(run(black_box(3), black_box(5)));
                    });
                });
            });
        }
    }
    group.finish();
}

/// Name of the instruction, products of a call, and the call.
type PeakLoop = (&'static str, u64, fn(i32, i32) -> i32);

#[cfg(target_arch = "x86_64")]
fn peak_loops() -> Vec<PeakLoop> {
    match Path::best() {
        Path::Avx512 => vec![
            ("vpdpbusd zmm", STEPS * 16 * 64, x86::avx512),
            ("vpdpbusd zmm, Q4_1", STEPS * 8 * 16 * 32, x86::avx512_scaled),
        ],
        Path::Avx2 => vec![("vpmaddubsw ymm", STEPS * 12 * 32, x86::avx2)],
        Path::Scalar => Vec::new(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_loops() -> Vec<PeakLoop> {
    let _ = Path::best();
    Vec::new()
}

/// Reads bytes that no cache holds.
fn memory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(SWEEP_BYTES as u64));
    let words = vec![1_u64; SWEEP_BYTES / 8];
    for threads in thread_counts() {
        let pool = pool(threads);
        let part = words.len().div_ceil(threads);
        group.bench_function(format!("read/threads {threads}"), |bencher| {
            bencher.iter(|| {
                pool.install(|| words.par_chunks(part).with_max_len(1).map(sweep).sum::<u64>())
            });
        });
    }
    group.finish();
}

/// Eight sums, so that no addition waits for the one before.
fn sweep(words: &[u64]) -> u64 {
    let mut sums = [0_u64; 8];
    for words in words.as_chunks::<8>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(unsafe_code)]

    use std::arch::x86_64::{
        __m512, _mm256_add_epi16, _mm256_extract_epi32, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
        _mm512_fmadd_ps, _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_reduce_add_ps,
        _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_setzero_si512, _mm512_srli_epi16,
    };

    use super::STEPS;

    /// 16 registers of sums, each of which takes 64 products a step.
    pub(super) fn avx512(a: i32, b: i32) -> i32 {
        // SAFETY: it is called only where `Path::best` found AVX-512 F and VNNI.
        unsafe { avx512_sums(a, b) }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn avx512_sums(a: i32, b: i32) -> i32 {
        let (a, b) = (_mm512_set1_epi32(a), _mm512_set1_epi32(b));
        let mut sums = [_mm512_setzero_si512(); 16];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        sums.into_iter().fold(0, |all, sum| all.wrapping_add(_mm512_reduce_add_epi32(sum)))
    }

    /// What a tile of 16 rows of weights and 8 rows of activations asks for, for 32 columns: everything
    /// lies in registers and in the first-level cache, and nothing is left out.
    pub(super) fn avx512_scaled(a: i32, b: i32) -> i32 {
        // SAFETY: it is called only where `Path::best` found AVX-512 F, BW and VNNI.
        unsafe { avx512_scaled_sums(a, b) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn avx512_scaled_sums(a: i32, b: i32) -> i32 {
        let mask = _mm512_set1_epi8(0x0f);
        let (scale, low) = (_mm512_set1_ps(a as f32), _mm512_set1_ps(b as f32));
        let lines = std::hint::black_box([[_mm512_set1_epi32(a); 4]; 8]);
        let rows = std::hint::black_box([[[b; 10]; 8]; 8]);
        let mut sums: [__m512; 8] = [_mm512_setzero_ps(); 8];
        for step in 0..STEPS as usize {
            // others in each step: what is the same would be taken out of the loop
            let (lines, rows) = (&lines[step % 8], &rows[step % 8]);
            let mut codes = [lines[0]; 8];
            for i in 0..4 {
                codes[i] = _mm512_and_si512(lines[i], mask);
                codes[i + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(lines[i]), mask);
            }
            for (sum, row) in sums.iter_mut().zip(rows) {
                let mut dot = _mm512_setzero_si512();
                for (codes, x) in codes.iter().zip(row) {
                    dot = _mm512_dpbusd_epi32(dot, *codes, _mm512_set1_epi32(*x));
                }
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(f32::from_bits(row[8] as u32)));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, *sum);
                *sum = _mm512_fmadd_ps(low, _mm512_set1_ps(f32::from_bits(row[9] as u32)), *sum);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum::<f32>() as i32
    }

    /// 12 registers of sums, each of which takes 32 products a step.
    pub(super) fn avx2(a: i32, b: i32) -> i32 {
        // SAFETY: it is called only where `Path::best` found AVX2.
        unsafe { avx2_sums(a, b) }
    }

    #[target_feature(enable = "avx2")]
    fn avx2_sums(a: i32, b: i32) -> i32 {
        let (mut a, b) = (_mm256_set1_epi8(a as i8), _mm256_set1_epi8(b as i8));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..STEPS {
            // a product that is the same in each step would be taken out of the loop
            a = std::hint::black_box(a);
            for sum in &mut sums {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(a, b));
            }
        }
        let first = |sum| _mm256_extract_epi32::<0>(sum);
        sums.into_iter().fold(0, |all, sum| all.wrapping_add(first(sum)))
    }
}
