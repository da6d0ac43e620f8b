//! The engine of one partition: requests go in, a step at a time events come out.
//!
//! A core belongs to one thread. Nothing in it waits, and a request's results depend on
//! nothing but the request: not on what runs beside it, not on how its prompt was cut into
//! chunks, not on whether it was preempted or taken over from another worker.

mod config;
mod drafts;
mod step;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{EngineError, ModelDigest, ModelKind, NumericsClass, Submission, TokenId};
use engine_kernels::{DeviceName, KvKind, Threads};
use engine_text::Tokenizer;

pub use config::{CoreCard, CoreConfig, Load};

use crate::constraint::{Grammars, Guide};
use crate::event::{CoreEvent, SequenceKey};
use crate::kv::{BLOCK_TOKENS, Chain, KvCache, Root};
use crate::model::{self, LoadError, LoadProgress, Model, Setup};
use crate::request::{Bounds, Request};
use crate::sampler::Scratch;
use crate::scheduler::{Arrival, Refusal, Scheduler, SequenceId};
use drafts::Drafts;

/// Longest hint to a client to come back, in seconds.
const RETRY_SECONDS_MAX: u64 = 60;
/// Forced tokens of one sequence that a step computes at most: as many as cost a step little.
const FORCED_MAX: usize = 32;

/// A model with its cache, its scheduler and the requests that it serves.
pub struct Core {
    card: CoreCard,
    model: Box<dyn Model>,
    cache: KvCache,
    threads: Threads,
    tokenizer: Arc<Tokenizer>,
    grammars: Arc<Grammars>,
    scheduler: Scheduler,
    /// By number of arrival.
    requests: BTreeMap<u64, Request>,
    numbers: HashMap<SequenceKey, u64>,
    next_number: u64,
    drafts: Drafts,
    /// Forced tokens of one sequence that a step computes at most.
    forced_max: usize,
    /// The kernels run elsewhere than on the cores of this machine.
    has_spare_cores: bool,
    scratch: Scratch,
    /// When the scheduler's clock was at zero.
    started: Instant,
    /// Events that the next step brings along.
    pending: Vec<(SequenceKey, CoreEvent)>,
    /// Prompt tokens of the requests that reached their first token, since the start.
    prompt_tokens: u64,
    /// Tokens drawn since the start.
    generation_tokens: u64,
}

impl Core {
    /// Reads the model and allocates the cache. `progress` hears of every few megabytes.
    pub fn load(
        config: &CoreConfig,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        config.check()?;
        let threads = Threads::new(config.threads).map_err(LoadError::Threads)?;
        let device = config.device.open().map_err(LoadError::Device)?;
        let CoreConfig { device: name, activations, context_max, .. } = *config;
        let setup = Setup { device: name, activations, context_max };
        let packed = config.packed.as_ref();
        let loaded = model::load_packed(&config.model, setup, packed, progress)?;
        if let Some(save) = loaded.save {
            // what it reads is shared with the model, and nobody waits for it
            let saving = thread::Builder::new().name("packed".into()).spawn(|| save.run());
            saving.map_err(LoadError::Thread)?;
        }
        let shape = loaded.model.cache_shape();
        let kv_kind = config.kv_kind.unwrap_or_else(|| KvKind::of(&device));
        let cache = KvCache::new(&shape, kv_kind, config.kv_bytes, &device)?;
        let blocks = cache.groups()[0].blocks;
        let numerics = engine_kernels::numerics_class(&device, kv_kind, config.activations);
        let card = CoreCard {
            digest: ModelDigest(loaded.digest),
            numerics: NumericsClass::new(numerics),
            context: shape.context,
            vocabulary: loaded.model.vocabulary(),
            blocks,
            block_tokens: BLOCK_TOKENS,
            kind: ModelKind::Generate,
        };
        tracing::info!(digest = %card.digest, %card.numerics, card.context, blocks, "model loaded");
        // more tokens than there are slots cannot be read in a step
        let step_tokens_max = config.step_tokens_max.min(u32::MAX as usize) as u32;
        let scheduler = Scheduler::new(cache.groups(), step_tokens_max, config.queue_max);
        let tokenizer = Arc::new(loaded.tokenizer);
        Ok(Self {
            card,
            model: loaded.model,
            cache,
            threads,
            grammars: Arc::new(Grammars::new(tokenizer.clone())),
            tokenizer,
            scheduler,
            requests: BTreeMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            drafts: Drafts::new(config.draft_tokens_max),
            forced_max: FORCED_MAX,
            has_spare_cores: config.device != DeviceName::Cpu,
            scratch: Scratch::default(),
            started: Instant::now(),
            pending: Vec::new(),
            prompt_tokens: 0,
            generation_tokens: 0,
        })
    }

    /// What runs here.
    pub fn card(&self) -> CoreCard {
        self.card.clone()
    }

    /// The compiler of grammars, for a thread that does not step.
    pub fn grammars(&self) -> Arc<Grammars> {
        self.grammars.clone()
    }

    /// Queues a request, and compiles its grammar first, if it has one. `resume` is empty, or holds
    /// for each choice the tokens that another worker drew before it died: they are not drawn
    /// again, their events do not come again (but the end of a choice that they complete does), and
    /// what follows is what would have followed there.
    pub fn submit(
        &mut self,
        key: SequenceKey,
        submission: Submission,
        resume: Vec<Vec<TokenId>>,
    ) -> Result<(), EngineError> {
        let guides = self.grammars.guides(&submission)?;
        self.submit_guided(key, submission, resume, guides)
    }

    /// The same, with the guides that [`Grammars::guides`] made of the submission.
    pub fn submit_guided(
        &mut self,
        key: SequenceKey,
        submission: Submission,
        resume: Vec<Vec<TokenId>>,
        guides: Vec<Guide>,
    ) -> Result<(), EngineError> {
        if submission.prompt.model_digest != self.card.digest {
            tracing::error!(request = %submission.id, "the prompt was prepared for other weights");
            return Err(EngineError::Internal);
        }
        if self.numbers.contains_key(&key) {
            tracing::error!(request = %submission.id, "a request with this id is running");
            return Err(EngineError::Internal);
        }
        let bounds = Bounds { context: self.card.context, vocabulary: self.card.vocabulary };
        let (request, events) =
            Request::new(key.clone(), submission, &resume, guides, bounds, &self.tokenizer)?;
        let number = self.next_number;
        let now = self.started.elapsed();
        let arrivals = self.arrivals(number, &request, now);
        if !arrivals.is_empty() {
            self.scheduler.submit(arrivals, now).map_err(|why| self.refused(&request, why))?;
            self.next_number += 1;
            self.requests.insert(number, request);
            self.numbers.insert(key.clone(), number);
        }
        self.pending.extend(events.into_iter().map(|event| (key.clone(), event)));
        Ok(())
    }

    /// The sequences of a request that are left to compute.
    fn arrivals(&self, number: u64, request: &Request, now: Duration) -> Vec<Arrival> {
        let submission = &request.submission;
        let root = Root::new(&self.card.digest, submission.namespace);
        let arrival = |choice| Arrival {
            id: SequenceId { request: number, choice },
            prompt: submission.prompt.ids.len() as u32,
            whole: request.whole(),
            chain: Chain::new(root, request.tokens(choice)),
            share: submission.share,
            priority: submission.priority.0,
            deadline: submission.deadline.map(|left| now + left),
        };
        request.open().map(arrival).collect()
    }

    /// Forgets a request and frees its blocks. A key that is not known is ignored: the
    /// request may have ended in the meantime.
    pub fn cancel(&mut self, key: &SequenceKey) {
        self.pending.retain(|(owner, _)| owner != key);
        if let Some(number) = self.numbers.get(key) {
            self.forget(*number);
        }
    }

    /// Whether no request is left and no event is due.
    pub fn is_idle(&self) -> bool {
        self.scheduler.is_idle() && self.pending.is_empty()
    }

    /// How busy it is.
    pub fn load_now(&self) -> Load {
        let usage = self.scheduler.usage();
        let counters = self.scheduler.counters();
        Load {
            running: self.scheduler.running() as u32,
            waiting: self.scheduler.waiting() as u32,
            blocks_used: usage.held,
            blocks_total: usage.total,
            blocks_cached: usage.idle,
            blocks_pinned: usage.pinned,
            preemptions: counters.preemptions,
            prompt_tokens: self.prompt_tokens,
            generation_tokens: self.generation_tokens,
            prefix_queries: counters.prefix_queries,
            prefix_hits: counters.prefix_hits,
            drafted: self.drafts.counts().drafted,
            accepted: self.drafts.counts().accepted,
        }
    }

    /// Takes a request out of every table.
    fn forget(&mut self, number: u64) {
        let request = self.requests.remove(&number).expect("a numbered request is known");
        self.numbers.remove(&request.key);
        for choice in request.open() {
            let id = SequenceId { request: number, choice };
            self.scheduler.remove(id);
            self.drafts.forget(id);
        }
    }

    /// When it may go better: after as many rounds as the queue is longer than what runs at once.
    fn retry_after(&self) -> Duration {
        let rounds = self.scheduler.waiting() / self.scheduler.running().max(1);
        Duration::from_secs((rounds as u64).clamp(1, RETRY_SECONDS_MAX))
    }

    /// Says no, and to the operator how large what is refused was.
    fn refused(&self, request: &Request, refusal: Refusal) -> EngineError {
        tracing::info!(
            request = %request.key.request,
            prompt_tokens = request.submission.prompt.ids.len(),
            max_tokens = request.ending.tokens_max,
            choices = request.choices.len(),
            reason = refusal.reason(),
            "request refused"
        );
        match refusal {
            Refusal::Full => EngineError::Overloaded { retry_after: self.retry_after() },
            Refusal::NeverFits { pool } => EngineError::Invalid {
                param: "max_tokens",
                message: format!(
                    "makes the request longer than the {pool} tokens that this partition holds"
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests;
