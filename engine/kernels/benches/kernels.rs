//! The kernels on the shapes of SmolLM2-135M and Gemma 3 270M.
//!
//! `cargo bench -p engine-kernels --bench kernels`. A benchmark's elements are multiply-adds (of norms and
//! gates: numbers); its bytes are the weights, keys and values that it reads.

use std::sync::Arc;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use engine_kernels::{
    Activations, AttentionBatch, AttentionOptions, AttentionRow, BLOCK_TOKENS, Gate, KvKind,
    QMatrix, Threads, WeightKind, gated, key_cache, paged_attention, rms_norm, value_cache,
    write_keys, write_values,
};

/// Rows of activations: one sequence that decodes, several, a prompt's part and a whole step.
const ROWS: [usize; 6] = [1, 4, 8, 16, 40, 256];

/// Outputs, inputs and kind of each matrix of the models that differs from the others.
const MATRICES: [(WeightKind, usize, usize); 9] = [
    (WeightKind::Q4_1, 576, 576),
    (WeightKind::Q4_1, 1536, 576),
    (WeightKind::Q4_1, 576, 1536),
    (WeightKind::Q8_0, 49152, 576),
    (WeightKind::Q5_0, 1024, 640),
    (WeightKind::Q5_0, 2048, 640),
    (WeightKind::Q4K, 640, 2048),
    (WeightKind::Q6K, 640, 2048),
    (WeightKind::Q8_0, 262_144, 640),
];

/// A layer of SmolLM2: q, k, v, o, gate, up, down. There are 30, all Q4_1.
const LAYER: [(usize, usize); 7] =
    [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)];
const LAYERS: usize = 30;

criterion_group! {
    name = kernels;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
        .nresamples(1000);
    targets = products, whole_model, attention, elements
}
criterion_main!(kernels);

fn pool(threads: usize) -> Threads {
    Threads::new(threads).expect("threads can be started")
}

fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Weights whose scales are small numbers in any kind.
fn matrix(kind: WeightKind, outputs: usize, inputs: usize) -> QMatrix {
    let count = outputs * inputs / kind.block_columns() * kind.block_bytes();
    // Knuth's MMIX generator; bytes below 60, so that no half is large or not a number
    let mut state = 5_u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 60) as u8
    };
    let bytes: Vec<u8> = (0..count).map(|_| byte()).collect();
    QMatrix::from_ggml(kind, outputs, inputs, &bytes).expect("the weights fit their shape")
}

fn noise(shape: &[usize]) -> Tensor {
    Tensor::randn(0_f32, 1.0, shape, &Device::Cpu).expect("the shape is valid")
}

fn macs_and_bytes(macs: usize, bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: macs as u64, bytes: bytes as u64 }
}

/// Each matrix by itself on one core, again and again: small ones come out of the caches.
fn products(criterion: &mut Criterion) {
    let pool = pool(1);
    let mut group = criterion.benchmark_group("product");
    group.sampling_mode(SamplingMode::Flat);
    for (kind, outputs, inputs) in MATRICES {
        let weights = matrix(kind, outputs, inputs);
        for rows in ROWS {
            // heads compute the rows alone from which a token is drawn
            if outputs > 10_000 && rows > 40 {
                continue;
            }
            let x = noise(&[rows, inputs]);
            group.throughput(macs_and_bytes(rows * outputs * inputs, weights.bytes()));
            let name = format!("{kind:?} {outputs}x{inputs}");
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                let product = || weights.forward(&x, Activations::Int8).expect("widths agree");
                pool.install(|| bencher.iter(product));
            });
        }
    }
    group.finish();
}

/// All products of SmolLM2 one after the other, as a step has them: the weights come from memory. One
/// row is a token of one sequence; the head takes 40 rows at most.
fn whole_model(criterion: &mut Criterion) {
    let layers: Vec<QMatrix> = (0..LAYERS)
        .flat_map(|_| LAYER.map(|(outputs, inputs)| matrix(WeightKind::Q4_1, outputs, inputs)))
        .collect();
    let head = matrix(WeightKind::Q8_0, 49152, 576);
    let bytes = layers.iter().chain([&head]).map(QMatrix::bytes).sum();
    let mut group = criterion.benchmark_group("SmolLM2 products");
    group.sampling_mode(SamplingMode::Flat);
    let mut counts = vec![1, all_threads()];
    counts.dedup();
    for threads in counts {
        let pool = pool(threads);
        for rows in ROWS {
            let (narrow, wide) = (noise(&[rows, 576]), noise(&[rows, 1536]));
            let last = noise(&[rows.min(40), 576]);
            let of =
                |weights: &QMatrix, rows| weights.output_width() * weights.input_width() * rows;
            let macs = layers.iter().map(|w| of(w, rows)).sum::<usize>() + of(&head, rows.min(40));
            group.throughput(macs_and_bytes(macs, bytes));
            let name = format!("threads {threads}");
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                let step = || {
                    for weights in &layers {
                        let x = if weights.input_width() == 576 { &narrow } else { &wide };
                        weights.forward(x, Activations::Int8).expect("widths agree");
                    }
                    head.forward(&last, Activations::Int8).expect("widths agree")
                };
                pool.install(|| bencher.iter(step));
            });
        }
    }
    group.finish();
}

/// Heads of a model's attention.
struct Heads {
    model: &'static str,
    heads: usize,
    kv_heads: usize,
    width: usize,
}

/// One row at the end of a context, and the last 256 rows of a prompt, on one core.
fn attention(criterion: &mut Criterion) {
    let models = [
        Heads { model: "SmolLM2", heads: 9, kv_heads: 3, width: 64 },
        Heads { model: "Gemma 3", heads: 4, kv_heads: 1, width: 256 },
    ];
    let pool = pool(1);
    let mut group = criterion.benchmark_group("attention");
    group.sampling_mode(SamplingMode::Flat);
    for Heads { model, heads, kv_heads, width } in models {
        for (positions, rows) in [(128, 1), (2048, 1), (256, 256), (2048, 256)] {
            let (k, v) = filled_caches(positions, kv_heads, width);
            let q = noise(&[rows, heads, width]);
            let attended = positions - rows..positions;
            let batch = batch(positions, attended.clone());
            let macs = attended.map(|last| (last + 1) * heads * width * 2).sum();
            group.throughput(macs_and_bytes(
                macs,
                positions / BLOCK_TOKENS * KvKind::Q8.block_bytes(kv_heads, width),
            ));
            let name = format!("{model}, {positions} positions");
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                let options = AttentionOptions::scaled(0.1);
                let attend =
                    || paged_attention(&q, &k, &v, &batch, &options).expect("shapes agree");
                pool.install(|| bencher.iter(attend));
            });
        }
    }
    group.finish();
}

/// Keys and values of one sequence whose blocks lie in order, as a partition keeps them.
fn filled_caches(positions: usize, kv_heads: usize, width: usize) -> (Tensor, Tensor) {
    let (blocks, device) = (positions / BLOCK_TOKENS, Device::Cpu);
    let kind = KvKind::of(&device);
    let keys = key_cache(blocks, kv_heads, width, kind, &device).expect("the shape is valid");
    let values = value_cache(blocks, kv_heads, width, kind, &device).expect("the shape is valid");
    let slots: Vec<u32> = (0..positions as u32).collect();
    let rows = noise(&[positions, kv_heads, width]);
    write_keys(&keys, &rows, &slots, None).expect("the slots are there");
    write_values(&values, &rows, &slots).expect("the slots are there");
    (keys, values)
}

fn batch(positions: usize, rows: std::ops::Range<usize>) -> AttentionBatch {
    let table: Arc<[u32]> = (0..(positions / BLOCK_TOKENS) as u32).collect();
    let rows = rows.map(|row| AttentionRow { table: 0, position: row as u32 });
    AttentionBatch::new(vec![table], rows.collect()).expect("the table is long enough")
}

/// What touches each number once, on one core.
fn elements(criterion: &mut Criterion) {
    let pool = pool(1);
    let mut group = criterion.benchmark_group("elements");
    for rows in [1, 256] {
        let (x, weight) = (noise(&[rows, 576]), noise(&[576]));
        group.throughput(macs_and_bytes(
            x.elem_count(),
            2 * DType::F32.size_in_bytes() * x.elem_count(),
        ));
        group.bench_function(BenchmarkId::new("rms_norm 576", rows), |bencher| {
            pool.install(|| bencher.iter(|| rms_norm(&x, &weight, 1e-5).expect("widths agree")));
        });
        let (gate, up) = (noise(&[rows, 1536]), noise(&[rows, 1536]));
        let bytes = 3 * DType::F32.size_in_bytes() * gate.elem_count();
        group.throughput(macs_and_bytes(gate.elem_count(), bytes));
        group.bench_function(BenchmarkId::new("silu 1536", rows), |bencher| {
            pool.install(|| bencher.iter(|| gated(&gate, &up, Gate::Silu).expect("shapes agree")));
        });
    }
    group.finish();
}
