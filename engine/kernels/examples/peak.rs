//! Products a second of `QMatrix::forward` on the shapes of SmolLM2-135M.
//!
//! `cargo run --release -p engine-kernels --example peak -- [threads] [attention]`

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use engine_kernels::{
    Activations, AttentionBatch, AttentionOptions, AttentionRow, KvKind, QMatrix, Threads,
    WeightKind, key_cache, paged_attention, value_cache,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let pool = Threads::new(threads)?;
    println!("{threads} threads, best of 300 ms, thousand million products a second");
    if std::env::args().nth(2).is_none() {
        products(&pool)?;
    }
    attention(&pool)
}

/// The matrices of SmolLM2 and some of other kinds.
fn products(pool: &Threads) -> Result<(), Box<dyn std::error::Error>> {
    println!("{:>22} {:>8} {:>8} {:>8} {:>8}", "outputs x inputs", "M=1", "M=8", "M=64", "M=256");
    let q4 = WeightKind::Q4_1;
    let shapes = [
        (q4, 576, 576),
        (q4, 192, 576),
        (q4, 1536, 576),
        (q4, 576, 1536),
        (WeightKind::Q8_0, 49152, 576),
        (WeightKind::Q5_0, 2048, 640),
        (WeightKind::Q4K, 2048, 768),
        (WeightKind::Q6K, 2048, 768),
        (WeightKind::F16, 2048, 768),
    ];
    for (kind, rows, columns) in shapes {
        let blocks = rows * columns / kind.block_columns();
        let matrix =
            QMatrix::from_ggml(kind, rows, columns, &vec![17; blocks * kind.block_bytes()])?;
        print!("{:>22}", format!("{rows} x {columns} {kind:?}"));
        for m in [1, 8, 64, 256] {
            let x = Tensor::ones((m, columns), candle_core::DType::F32, &Device::Cpu)?;
            let best =
                pool.install(|| best_of(|| matrix.forward(&x, Activations::Int8).map(drop)))?;
            let products = (m * rows * columns) as f64;
            print!(" {:>8.1}", products / best.as_secs_f64() / 1e9);
        }
        println!();
    }
    Ok(())
}

/// Attention of SmolLM2 (9 heads over 3, 64 wide): one row, and 256 rows, at the end of a context.
fn attention(pool: &Threads) -> Result<(), Box<dyn std::error::Error>> {
    for context in [256_u32, 2048] {
        let blocks = context / 32;
        let k = key_cache(blocks as usize, 3, 64, KvKind::F16, &Device::Cpu)?;
        let v = value_cache(blocks as usize, 3, 64, KvKind::F16, &Device::Cpu)?;
        for m in [1_u32, 48] {
            let rows = (context - m..context).map(|position| AttentionRow { table: 0, position });
            let batch = AttentionBatch::new(vec![(0..blocks).collect()], rows.collect())?;
            let options = AttentionOptions::scaled(0.1);
            let q = Tensor::ones((m as usize, 9, 64), candle_core::DType::F32, &Device::Cpu)?;
            let best = pool
                .install(|| best_of(|| paged_attention(&q, &k, &v, &batch, &options).map(drop)))?;
            let products: u32 = (context - m..context).map(|p| (p + 1) * 9 * 64 * 2).sum();
            println!(
                "attention, context {context}, {m} rows: {:.1} us, {:.1}",
                best.as_secs_f64() * 1e6,
                f64::from(products) / best.as_secs_f64() / 1e9
            );
        }
    }
    Ok(())
}

fn best_of<E>(run: impl Fn() -> Result<(), E>) -> Result<Duration, E> {
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    while begin.elapsed() < Duration::from_millis(300) {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}
