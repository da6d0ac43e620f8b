//! What the scheduler takes, whatever computes: `cargo bench -p engine-worker --bench scheduler`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use engine_worker::{Ask, Rehearsal, Stage, StepCosts};

/// Blocks that hold every sequence here to its end.
const BLOCKS: u32 = 1 << 20;
/// So long that no answer ends while it is measured.
const ANSWER: u32 = 100_000;

fn stage() -> Rehearsal {
    Rehearsal::new(Stage { blocks: BLOCKS, step_tokens_max: 256, costs: StepCosts::NONE })
}

/// A prompt that begins as all others do, and goes on as none does.
fn prompt(number: u32, common: u32, own: u32) -> Vec<u32> {
    (0..common).chain((0..own).map(|at| number << 12 | at)).collect()
}

/// One step of sequences that all decode.
fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a step of decoding sequences");
    for sequences in [1, 16, 256] {
        let mut stage = stage();
        for number in 1..=sequences {
            let prompt = prompt(number, 0, 40);
            stage.ask(Ask { prompt, answer: ANSWER, share: 0 }).expect("it fits");
        }
        // the prompts are read before
        (0..64).for_each(|_| drop(stage.step()));
        let id = BenchmarkId::from_parameter(sequences);
        group.bench_function(id, |bencher| bencher.iter(|| stage.step()));
    }
}

/// Agents of one system prompt who all ask at once: every step until each has its answer.
fn crowd(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("all steps of a crowd");
    for agents in [8, 64] {
        let run = || {
            let mut stage = stage();
            for number in 1..=agents {
                let prompt = prompt(number, 1250, 75);
                stage.ask(Ask { prompt, answer: 32, share: 0 }).expect("it fits");
            }
            while stage.open() > 0 {
                black_box(stage.step());
            }
        };
        group.bench_function(BenchmarkId::from_parameter(agents), |bencher| bencher.iter(run));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = decoding, crowd
}
criterion_main!(benches);
