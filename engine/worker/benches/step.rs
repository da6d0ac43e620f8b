//! What a whole step takes: plan, forward, draws, events. `cargo bench -p engine-worker --bench step`.
//!
//! With the tiny model that tests use, where nearly all of it is not the forward; and with
//! SmolLM2-135M where its file is in `data/models`, as `cargo run --release` leaves it there.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use engine_api::{
    CacheNamespace, Choices, MaxTokens, ModelId, Priority, Prompt, RequestId, Sampling, Seed,
    Share, StopStrings, StopTokens, Stopping, Submission, Temperature, TokenId, TopP, ZoneId,
};
use engine_tiny::TinyModel;
use engine_worker::{Activations, Core, CoreConfig, DeviceName, SequenceKey};

const SMOLLM2: &str = "data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";

/// A core, and how many requests it was given.
struct Rig {
    core: Core,
    asked: u32,
}

fn key(number: u32) -> SequenceKey {
    SequenceKey { connection: 1, request: RequestId::new(number.to_string()) }
}

impl Rig {
    fn tiny() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("hanse-step-{}.gguf", std::process::id()));
        TinyModel { context: 4096, ..TinyModel::default() }.write(&path).expect("a place for it");
        let rig = Self::over(path.clone());
        let _ = std::fs::remove_file(path);
        rig
    }

    fn smollm2() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join(SMOLLM2);
        if !path.exists() {
            println!("{SMOLLM2} is not there, so nothing is measured with it");
            return None;
        }
        Self::over(path)
    }

    fn over(model: PathBuf) -> Option<Self> {
        let config = CoreConfig {
            model,
            device: DeviceName::Cpu,
            kv_bytes: 512 << 20,
            kv_kind: None,
            packed: None,
            context_max: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            step_tokens_max: CoreConfig::STEP_TOKENS_MAX,
            queue_max: 512,
            // guesses would make steps of all lengths
            draft_tokens_max: 0,
            activations: Activations::Int8,
        };
        let core = Core::load(&config, &mut |_| {}).expect("the model can be read");
        Some(Self { core, asked: 0 })
    }

    /// A request that nobody has made before.
    fn ask(&mut self, prompt_tokens: u32, answer: u32, sampling: Sampling) {
        self.asked += 1;
        let card = self.core.card();
        // numbers without an order
        let token = |at: u32| (self.asked * 7919 + at * 104_729) % (card.vocabulary - 8) + 4;
        let max_tokens = answer.min(card.context - prompt_tokens);
        let key = key(self.asked);
        let submission = Submission {
            id: key.request.clone(),
            prompt: Prompt {
                model: ModelId::new("bench"),
                model_digest: card.digest,
                ids: (0..prompt_tokens).map(|at| TokenId(token(at))).collect(),
                max_tokens,
                context: card.context,
                answer: Default::default(),
            },
            choices: Choices::ONE,
            sampling,
            stopping: Stopping {
                max_tokens: MaxTokens::new(max_tokens).expect("at least one"),
                stop: StopStrings::default(),
                stop_tokens: StopTokens::default(),
                ignore_eos: true,
                min_tokens: 0,
            },
            constraint: None,
            markers: Vec::new(),
            namespace: CacheNamespace([0; 16]),
            share: Share { key: 0, weight: NonZeroU32::MIN },
            priority: Priority::default(),
            deadline: None,
            hold: None,
            zones: vec![ZoneId::new("here")],
            trace: None,
        };
        self.core.submit(key, submission, Vec::new()).expect("it is taken");
    }

    /// Ends all that runs.
    fn clear(&mut self) {
        (1..=self.asked).for_each(|number| self.core.cancel(&key(number)));
    }

    /// Fills up to so many sequences, with their prompts read.
    fn fill(&mut self, sequences: u32, sampling: &Sampling) {
        let running = self.core.load_now().running;
        if running < sequences {
            (running..sequences).for_each(|_| self.ask(100, 2000, sampling.clone()));
            while self.core.step().len() < sequences as usize {}
        }
    }
}

fn greedy() -> Sampling {
    Sampling { temperature: Temperature::GREEDY, seed: Seed(1), ..Sampling::default() }
}

fn drawn() -> Sampling {
    let top_p = TopP::new(0.95).expect("in range");
    let temperature = Temperature::new(0.8).expect("in range");
    Sampling { temperature, top_p, ..greedy() }
}

/// Runs `step` so many times, each after `ready`, whose time does not count.
fn timed(rig: &mut Rig, times: u64, ready: impl Fn(&mut Rig), step: impl Fn(&mut Rig)) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        ready(rig);
        let begun = Instant::now();
        step(rig);
        took += begun.elapsed();
    }
    took
}

fn measure(criterion: &mut Criterion, name: &str, rig: Option<Rig>) {
    let Some(mut rig) = rig else { return };
    let mut group = criterion.benchmark_group(name);
    let step = |rig: &mut Rig| drop(rig.core.step());
    for (kind, sampling) in [("greedy", greedy()), ("drawn", drawn())] {
        for sequences in [1, 16] {
            rig.clear();
            let fill = |rig: &mut Rig| rig.fill(sequences, &sampling);
            let id = format!("{sequences} {kind}");
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|times| timed(&mut rig, times, fill, step));
            });
        }
    }
    rig.clear();
    let tokens = CoreConfig::STEP_TOKENS_MAX as u32;
    let ask = |rig: &mut Rig| rig.ask(tokens, 1, greedy());
    group.bench_function(format!("a prompt of {tokens}"), |bencher| {
        bencher.iter_custom(|times| timed(&mut rig, times, ask, step));
    });
}

fn steps(criterion: &mut Criterion) {
    measure(criterion, "a step of the tiny model", Rig::tiny());
    measure(criterion, "a step of SmolLM2-135M", Rig::smollm2());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(10);
    targets = steps
}
criterion_main!(benches);
