//! Requests go in, a step at a time vectors come out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_api::{
    EngineError, ModelDigest, ModelKind, NumericsClass, Share, Timings, TokenId, Usage,
};
use engine_kernels::{ENCODER_NUMERICS, Threads};
use engine_wire::{Counters, Embed, Embedded, Load};
use tracing::{Span, error, info};

use super::encoder::{Encoder, normalized};
use super::load;
use super::queue::Queue;
use crate::core::CoreCard;
use crate::event::{CoreEvent, SequenceKey};
use crate::model::{LoadError, LoadProgress};
use crate::trace;

/// Hint to a client whose request found no place.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How an encoder runs.
#[derive(Clone, Debug)]
pub struct EmbedConfig {
    /// The folder of the model.
    pub model: PathBuf,
    /// Threads that compute.
    pub threads: usize,
    /// Tokens of one step, over all texts; a longer text has a step of its own.
    pub step_tokens_max: usize,
    /// Requests at most; more are refused.
    pub queue_max: usize,
}

/// An encoder with the requests that it serves.
pub struct EmbedCore {
    card: CoreCard,
    encoder: Encoder,
    threads: Threads,
    queue: Queue,
    /// By number of arrival.
    requests: BTreeMap<u64, Request>,
    numbers: HashMap<SequenceKey, u64>,
    next_number: u64,
    step_tokens_max: usize,
    queue_max: usize,
    /// Tokens of the texts that were embedded since the start.
    tokens: u64,
}

struct Request {
    key: SequenceKey,
    share: Share,
    dimensions: usize,
    /// What is not read yet, with its index.
    inputs: VecDeque<(u32, Arc<[TokenId]>)>,
    /// Inputs without a vector.
    left: usize,
    tokens: u32,
    came: Instant,
    /// By when its first text must be read.
    deadline: Option<Instant>,
    began: Option<Instant>,
    span: Span,
}

/// A text of a step, and whose it is.
struct Text {
    number: u64,
    input: u32,
    ids: Vec<u32>,
}

impl EmbedCore {
    /// Reads the model.
    pub fn load(
        config: &EmbedConfig,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        for (name, value) in
            [("step_tokens_max", config.step_tokens_max), ("queue_max", config.queue_max)]
        {
            if value == 0 {
                return Err(LoadError::Zero { name });
            }
        }
        let threads = Threads::new(config.threads).map_err(LoadError::Threads)?;
        let (encoder, digest) = load::load(&config.model, progress)?;
        let sizes = encoder.config();
        let card = CoreCard {
            digest: ModelDigest(digest),
            numerics: NumericsClass::new(ENCODER_NUMERICS),
            context: sizes.context,
            vocabulary: sizes.vocabulary as u32,
            blocks: 0,
            block_tokens: 0,
            kind: ModelKind::Embed,
        };
        info!(digest = %card.digest, %card.numerics, card.context, "encoder loaded");
        Ok(Self {
            card,
            encoder,
            threads,
            queue: Queue::default(),
            requests: BTreeMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            step_tokens_max: config.step_tokens_max,
            queue_max: config.queue_max,
            tokens: 0,
        })
    }

    /// What runs here.
    pub fn card(&self) -> CoreCard {
        self.card.clone()
    }

    /// Queues a request. It has at least one input, and none of them is empty.
    pub fn embed(&mut self, key: SequenceKey, embed: Embed) -> Result<(), EngineError> {
        self.check(&embed)?;
        let waiting = self.requests.len();
        // of the places that are left a share gets no more than it leaves free
        if self.queue.of_share(embed.share) >= self.queue_max.saturating_sub(waiting) {
            info!(request = %embed.id, reason = "queue_full", "request refused");
            return Err(EngineError::Overloaded { retry_after: RETRY_AFTER });
        }
        let number = self.next_number;
        self.next_number += 1;
        let tokens: usize = embed.inputs.iter().map(|(_, ids)| ids.len()).sum();
        let (came, tokens) = (Instant::now(), tokens as u32);
        self.queue.push(embed.share, number);
        self.numbers.insert(key.clone(), number);
        let request = Request {
            key,
            share: embed.share,
            dimensions: embed.dimensions as usize,
            span: trace::embedding(&embed.id, tokens, embed.trace),
            left: embed.inputs.len(),
            inputs: embed.inputs.into(),
            tokens,
            came,
            deadline: embed.deadline.and_then(|left| came.checked_add(left)),
            began: None,
        };
        self.requests.insert(number, request);
        Ok(())
    }

    fn check(&self, embed: &Embed) -> Result<(), EngineError> {
        if embed.model_digest != self.card.digest {
            error!(request = %embed.id, "the inputs were prepared for other weights");
            return Err(EngineError::Internal);
        }
        let sizes = self.encoder.config();
        let width = sizes.width;
        if embed.dimensions as usize > width || embed.dimensions == 0 {
            let message = format!("must be between 1 and {width}");
            return Err(EngineError::Invalid { param: "dimensions", message });
        }
        for (_, ids) in &embed.inputs {
            if ids.is_empty() || ids.len() > sizes.context as usize {
                let (length, context) = (ids.len(), sizes.context);
                let message = format!("has {length} tokens; this model takes 1 to {context}");
                return Err(EngineError::Invalid { param: "input", message });
            }
            if let Some(id) = ids.iter().find(|id| id.0 >= self.card.vocabulary) {
                let message = format!("has token {}, which this model does not have", id.0);
                return Err(EngineError::Invalid { param: "input", message });
            }
        }
        Ok(())
    }

    /// Forgets a request. One that is not known has ended already.
    pub fn cancel(&mut self, key: &SequenceKey) {
        if let Some(number) = self.numbers.get(key) {
            self.forget(*number);
        }
    }

    /// Whether no request is left.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// How busy it is. There are no blocks.
    pub fn load_now(&self) -> Load {
        let running = self.requests.values().filter(|request| request.began.is_some()).count();
        Load {
            running: running as u32,
            waiting: (self.requests.len() - running) as u32,
            counters: Counters { prompt_tokens: self.tokens, ..Counters::default() },
            ..Load::default()
        }
    }

    /// Embeds some texts, of one or more requests.
    pub fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)> {
        let mut events = Vec::new();
        let texts = self.plan(Instant::now(), &mut events);
        if texts.is_empty() {
            return events;
        }
        let rows: Vec<&[u32]> = texts.iter().map(|text| text.ids.as_slice()).collect();
        match self.threads.install(|| self.encoder.forward(&rows)) {
            Ok(vectors) => {
                for (text, vector) in texts.iter().zip(vectors) {
                    self.deliver(text, &vector, &mut events);
                }
            }
            Err(error) => {
                error!(%error, "the encoder failed");
                for text in &texts {
                    self.fail(text.number, EngineError::Internal, &mut events);
                }
            }
        }
        events
    }

    /// The texts of the next step. Requests that are late are refused before any of theirs.
    fn plan(&mut self, now: Instant, events: &mut Vec<(SequenceKey, CoreEvent)>) -> Vec<Text> {
        let (mut texts, mut tokens) = (Vec::new(), 0);
        while let Some(number) = self.queue.next() {
            let request = self.requests.get_mut(&number).expect("a queued request is known");
            if request.began.is_none() && request.deadline.is_some_and(|deadline| deadline < now) {
                let error = EngineError::DeadlineExceeded { retry_after: RETRY_AFTER };
                self.fail(number, error, events);
                continue;
            }
            let (_, ids) = request.inputs.front().expect("a queued request has inputs");
            if tokens > 0 && tokens + ids.len() > self.step_tokens_max {
                break;
            }
            tokens += ids.len();
            request.began.get_or_insert(now);
            self.queue.charge(request.share, ids.len());
            let (input, ids) = request.inputs.pop_front().expect("it was looked at above");
            if request.inputs.is_empty() {
                self.queue.remove(request.share, number);
            }
            texts.push(Text { number, input, ids: ids.iter().map(|id| id.0).collect() });
        }
        texts
    }

    /// Says a vector, and the end of its request where it was the last. A request's texts are read in
    /// order, so nothing of it comes after its last.
    fn deliver(&mut self, text: &Text, vector: &[f64], events: &mut Vec<(SequenceKey, CoreEvent)>) {
        let Some(request) = self.requests.get_mut(&text.number) else {
            return; // another text of it had no vector
        };
        let Some(values) = normalized(vector, request.dimensions) else {
            error!(request = %request.key.request, "a vector has no direction");
            return self.fail(text.number, EngineError::Internal, events);
        };
        self.tokens += text.ids.len() as u64;
        let embedded = Embedded { input: text.input, values };
        events.push((request.key.clone(), CoreEvent::Embedded(embedded)));
        request.left -= 1;
        if request.left == 0 {
            let began = request.began.unwrap_or(request.came);
            let (queue, prefill) = (began - request.came, began.elapsed());
            let timings = Timings { queue, prefill, decode: Duration::ZERO };
            let usage = Usage { prompt_tokens: request.tokens, ..Usage::default() };
            events.push((request.key.clone(), CoreEvent::Usage(usage, timings)));
            self.forget(text.number);
        }
    }

    fn fail(
        &mut self,
        number: u64,
        error: EngineError,
        events: &mut Vec<(SequenceKey, CoreEvent)>,
    ) {
        if let Some(request) = self.requests.get(&number) {
            events.push((request.key.clone(), CoreEvent::Failed(error)));
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(request) = self.requests.remove(&number) {
            self.numbers.remove(&request.key);
            self.queue.remove(request.share, number);
            drop(request.span);
        }
    }
}

#[cfg(test)]
mod tests;
