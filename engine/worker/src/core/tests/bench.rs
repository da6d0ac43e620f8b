//! Runs cores and collects what they say, checking the order of events on the way.

use std::io::Write;

use engine_api::{
    CacheNamespace, FinishReason, ModelId, Priority, Prompt, RequestId, Sampling, Seed, StopTokens,
};
use engine_api::{Share, Stopping, Token, ZoneId};
use engine_kernels::{Activations, DeviceName, KvKind};

use super::*;

/// Sequences that may wait.
pub(super) const QUEUE_MAX: usize = 24;

/// A model whose context is 12 blocks: longer than a span of attention, so that merging
/// spans is tested too.
pub(super) fn model() -> TinyModel {
    TinyModel { context: 384, ..TinyModel::default() }
}

/// A prompt of so many tokens. Prompts of one seed begin alike.
pub(super) fn prompt(seed: u32, length: usize) -> Vec<u32> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(Some(seed), next).skip(1);
    states.map(|state| 3 + (state >> 16) % 264).take(length).collect()
}

/// A greedy request for eight tokens.
pub(super) fn submission(id: &str, prompt: &[u32]) -> Submission {
    Submission {
        id: RequestId::new(id),
        prompt: Prompt {
            model: ModelId::new("tiny"),
            model_digest: ModelDigest([0; 32]),
            ids: prompt.iter().copied().map(TokenId).collect(),
            max_tokens: 64,
            context: 384,
            answer: Default::default(),
        },
        choices: Choices::ONE,
        sampling: Sampling {
            temperature: Temperature::GREEDY,
            seed: Seed(1),
            presence_penalty: Penalty::NONE,
            ..Sampling::default()
        },
        stopping: Stopping {
            max_tokens: MaxTokens::new(8).unwrap(),
            stop: StopStrings::default(),
            stop_tokens: StopTokens::default(),
            ignore_eos: false,
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
    }
}

/// The key of a request.
pub(super) fn key(id: &str) -> SequenceKey {
    SequenceKey { connection: 1, request: RequestId::new(id) }
}

/// What came of one choice.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Choice {
    pub(super) tokens: Vec<Token>,
    pub(super) reason: Option<FinishReason>,
    /// Text that came with the end.
    pub(super) rest: String,
}

impl Choice {
    pub(super) fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id.0).collect()
    }

    pub(super) fn text(&self) -> String {
        let texts = self.tokens.iter().map(|token| token.text.as_str());
        texts.chain([self.rest.as_str()]).collect()
    }
}

/// What came of one request.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Outcome {
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Usage>,
    pub(super) failed: Option<EngineError>,
    /// Prompt tokens that were cached when it began.
    pub(super) started: Option<u32>,
    /// Tokens of each choice that came before this run.
    resumed: Vec<usize>,
}

impl Outcome {
    /// Takes an event, if its place in the order is right.
    fn add(&mut self, event: CoreEvent) {
        assert!(self.usage.is_none() && self.failed.is_none(), "nothing follows the end");
        match event {
            CoreEvent::Started { cached_tokens } => {
                assert!(self.started.is_none(), "a request starts once");
                assert!(self.choices.iter().all(|choice| choice.tokens.is_empty()));
                self.started = Some(cached_tokens);
            }
            CoreEvent::Token(token) => {
                let choice = &mut self.choices[token.choice as usize];
                let resumed = self.resumed.get(token.choice as usize).copied().unwrap_or(0);
                assert_eq!(token.index as usize, resumed + choice.tokens.len(), "no gaps");
                assert_eq!(choice.reason, None, "no token follows the end of its choice");
                choice.tokens.push(token);
            }
            CoreEvent::Finished(finished) => {
                let choice = &mut self.choices[finished.choice as usize];
                assert_eq!(choice.reason, None, "a choice ends once");
                choice.reason = Some(finished.reason);
                choice.rest = finished.text;
            }
            CoreEvent::Embedded(_) => panic!("a vector of what generates"),
            CoreEvent::Usage(usage, _) => {
                assert!(self.choices.iter().all(|choice| choice.reason.is_some()));
                assert_eq!(usage.cached_tokens, self.started.unwrap_or(0));
                self.usage = Some(usage);
            }
            CoreEvent::Failed(error) => self.failed = Some(error),
        }
    }
}

/// A core and what its requests have come to.
pub(super) struct Bench {
    pub(super) core: Core,
    outcomes: BTreeMap<String, Outcome>,
}

/// Bytes of a block of the tiny model: 2 layers of 2 heads, each 16 wide.
pub(super) fn block_bytes(kind: KvKind) -> u64 {
    2 * kind.block_bytes(2, 16) as u64
}

impl Bench {
    /// The tiny model with so many blocks.
    pub(super) fn new(blocks: u64, step_tokens_max: usize) -> Self {
        Self::over(&model().to_bytes(), blocks, step_tokens_max)
    }

    /// Another file of the same shape.
    pub(super) fn over(file: &[u8], blocks: u64, step_tokens_max: usize) -> Self {
        let kind = KvKind::of(&DeviceName::of_tests().unwrap().open().unwrap());
        Self::with(file, blocks * block_bytes(kind), step_tokens_max, kind)
    }

    /// The same, with memory for keys and values of a kind.
    pub(super) fn with(file: &[u8], kv_bytes: u64, step_tokens_max: usize, kind: KvKind) -> Self {
        let mut on_disk = tempfile::NamedTempFile::new().unwrap();
        on_disk.write_all(file).unwrap();
        let config = CoreConfig {
            model: on_disk.path().to_owned(),
            device: DeviceName::of_tests().unwrap(),
            kv_bytes,
            kv_kind: Some(kind),
            context_max: None,
            threads: 2,
            step_tokens_max,
            queue_max: QUEUE_MAX,
            draft_tokens_max: CoreConfig::DRAFT_TOKENS_MAX,
            activations: Activations::Int8,
            packed: None,
        };
        let core = Core::load(&config, &mut |_| {}).unwrap();
        Self { core, outcomes: BTreeMap::new() }
    }

    pub(super) fn submit(&mut self, submission: Submission) {
        self.resume(submission, Vec::new());
    }

    /// Submits a request of which another core has drawn these tokens.
    pub(super) fn resume(&mut self, mut submission: Submission, tokens: Vec<Vec<TokenId>>) {
        submission.prompt.model_digest = self.core.card().digest;
        let id = submission.id.as_str().to_owned();
        let choices = vec![Choice::default(); submission.choices.get() as usize];
        let resumed = tokens.iter().map(Vec::len).collect();
        self.core.submit(key(&id), submission, tokens).unwrap();
        self.outcomes.insert(id, Outcome { choices, resumed, ..Outcome::default() });
    }

    /// One step; false when there is nothing left to do.
    pub(super) fn step(&mut self) -> bool {
        for (key, event) in self.core.step() {
            let outcome = self.outcomes.get_mut(key.request.as_str()).expect("it was submitted");
            outcome.add(event);
        }
        !self.core.is_idle()
    }

    /// Steps until everything ended, and gives what came of each request.
    pub(super) fn finish(&mut self) -> BTreeMap<String, Outcome> {
        while self.step() {}
        std::mem::take(&mut self.outcomes)
    }
}
