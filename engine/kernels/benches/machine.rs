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

/// Products of 8-bit integers out of registers, on the best path that there is.
fn integer_products(criterion: &mut Criterion) {
    let Some((name, products, run)) = peak_loop() else { return };
    let mut group = criterion.benchmark_group("peak");
    group.sampling_mode(SamplingMode::Flat);
    for threads in thread_counts() {
        group.throughput(Throughput::Elements(products * threads as u64));
        let pool = pool(threads);
        group.bench_function(format!("{name}/threads {threads}"), |bencher| {
            bencher.iter(|| {
                pool.install(|| {
                    (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
                        black_box(run(black_box(3), black_box(5)));
                    });
                });
            });
        });
    }
    group.finish();
}

/// Name of the instruction, products of a call, and the call.
type PeakLoop = (&'static str, u64, fn(i32, i32) -> i32);

#[cfg(target_arch = "x86_64")]
fn peak_loop() -> Option<PeakLoop> {
    match Path::best() {
        Path::Avx512 => Some(("vpdpbusd zmm", STEPS * 16 * 64, x86::avx512)),
        Path::Avx2 => Some(("vpmaddubsw ymm", STEPS * 12 * 32, x86::avx2)),
        Path::Scalar => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_loop() -> Option<PeakLoop> {
    let _ = Path::best();
    None
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
        _mm256_add_epi16, _mm256_extract_epi32, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi32,
        _mm512_setzero_si512,
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
