//! One step: plan, forward, sample, commit.

use std::thread;
use std::time::Instant;

use candle_core::{Storage, Tensor};
use engine_api::{CandidateToken, EngineError, Finished, Token, TokenLogprob};

use super::Core;
use crate::constraint::Lost;
use crate::event::{CoreEvent, SequenceKey};
use crate::model::Batch;
use crate::sampler::{Candidate, Draw, Drawn, Logprobs, NotFinite};
use crate::scheduler::{Chunk, Plan, SequenceId};
use crate::trace;

type Events = Vec<(SequenceKey, CoreEvent)>;

/// Why no token comes of a row.
#[derive(Debug, thiserror::Error)]
enum NoToken {
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl Core {
    /// Runs what the scheduler plans, and says what came of it. Empty when there is nothing
    /// to do, or when only prompts were read.
    pub fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)> {
        let mut events = std::mem::take(&mut self.pending);
        self.guess();
        let plan = self.scheduler.plan(self.started.elapsed());
        self.note(&plan, &mut events);
        if plan.chunks.is_empty() {
            return events;
        }
        let _spans = self.enter(&plan);
        let begun = Instant::now();
        let batch = self.batch(&plan);
        let done = self.forward(&plan, &batch).and_then(|logits| {
            with_values(&logits, |logits| self.draw(&plan, logits, &mut events))
        });
        match done {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "the forward pass failed");
                plan.chunks.iter().for_each(|chunk| self.fail(chunk.sequence, &mut events));
            }
        }
        self.scheduler.observe(&plan, begun.elapsed());
        events
    }

    /// Tells the scheduler what must or might follow the sequences that decode.
    fn guess(&mut self) {
        let decoding: Vec<_> = self.scheduler.decoding().collect();
        let is_worth_while = self.drafts.is_worth_while(decoding.len());
        for id in decoding {
            let request = self.requests.get_mut(&id.request).expect("a running request is known");
            let forced = request.choices[id.choice as usize].forced(self.forced_max);
            let drafts = if !forced.is_empty() {
                self.drafts.force(id, forced)
            } else if is_worth_while {
                self.drafts.guess(id, request)
            } else {
                continue;
            };
            self.scheduler.draft(id, drafts);
        }
    }

    /// What a plan decided about sequences beside what it computes. Says who had to give way,
    /// and who came too late: lengths only, never what is written in them.
    fn note(&mut self, plan: &Plan, events: &mut Events) {
        for chunk in &plan.chunks {
            if let Some(request) = self.requests.get_mut(&chunk.sequence.request) {
                request.clock.runs();
            }
        }
        for admitted in &plan.admitted {
            let request = self.requests.get_mut(&admitted.sequence.request);
            let request = request.expect("a planned request is known");
            if request.cached_tokens.is_none() {
                let cached_tokens = admitted.cached;
                request.cached_tokens = Some(cached_tokens);
                events.push((request.key.clone(), CoreEvent::Started { cached_tokens }));
            }
        }
        for id in &plan.preempted {
            let Some(request) = self.requests.get(&id.request) else { continue };
            tracing::info!(
                request = %request.key.request,
                choice = id.choice,
                prompt_tokens = request.submission.prompt.ids.len(),
                drawn_tokens = request.choices[id.choice as usize].drawn().len(),
                reason = "no block is free",
                "sequence preempted"
            );
        }
        for id in &plan.expired {
            let Some(request) = self.requests.get(&id.request) else { continue };
            let prompt_tokens = request.submission.prompt.ids.len();
            let reason = "its prompt cannot be read in time";
            tracing::warn!(request = %request.key.request, prompt_tokens, reason, "request refused");
            let retry_after = self.retry_after();
            self.fail_with(*id, EngineError::DeadlineExceeded { retry_after }, events);
        }
    }

    /// Spans of the traced requests in the plan; they end when they are dropped.
    fn enter(&self, plan: &Plan) -> Vec<tracing::Span> {
        let span = |chunk: &Chunk| {
            let request = &self.requests[&chunk.sequence.request];
            trace::step(&request.submission, &request.span, chunk.start, chunk.length)
        };
        plan.chunks.iter().map(span).collect()
    }

    fn batch(&self, plan: &Plan) -> Batch {
        let mut batch = Batch::default();
        for chunk in &plan.chunks {
            let request = &self.requests[&chunk.sequence.request];
            let choice = chunk.sequence.choice;
            let drafts = self.drafts.of(chunk.sequence);
            let known = request.known(choice);
            let token = |position: u32| match position.checked_sub(known) {
                None => request.token(choice, position).0,
                Some(draft) => drafts[draft as usize],
            };
            let tokens = (chunk.start..chunk.start + chunk.length).map(token);
            let tables = self.scheduler.tables(chunk.sequence);
            batch.push(tokens, chunk.start, tables, chunk.drawn);
        }
        batch
    }

    /// Logits of the batch's drawn rows, one row after the other. Meanwhile, where that has cores
    /// to spare, what may follow each sequence under a grammar is worked out; before it otherwise.
    fn forward(&mut self, plan: &Plan, batch: &Batch) -> candle_core::Result<Tensor> {
        let Self { requests, cache, threads, model, .. } = self;
        cache.copy(plan.copies.iter().map(|(_, copy)| copy))?;
        let compute = || threads.install(|| model.forward(batch, cache));
        let is_guided = |chunk: &&Chunk| {
            let request = requests.get(&chunk.sequence.request);
            request.is_some_and(|request| request.submission.constraint.is_some())
        };
        let guided: Vec<_> =
            plan.chunks.iter().filter(|chunk| chunk.drawn > 0).filter(is_guided).collect();
        // rows behind a draft are asked for when the draft was right
        let mut prepare = || {
            for Chunk { sequence, .. } in guided.iter().copied() {
                let request = requests.get_mut(&sequence.request);
                let request = request.expect("a planned request is known");
                request.choices[sequence.choice as usize].prepare();
            }
        };
        if guided.is_empty() || !self.has_spare_cores {
            prepare();
            return compute();
        }
        thread::scope(|scope| {
            scope.spawn(prepare);
            compute()
        })
    }

    fn draw(&mut self, plan: &Plan, mut logits: &[f32], events: &mut Events) {
        for chunk in &plan.chunks {
            let length = chunk.drawn as usize * self.card.vocabulary as usize;
            let (own, others) = logits.split_at(length);
            logits = others;
            // a sibling may have failed a moment ago, and the request with it
            if self.requests.contains_key(&chunk.sequence.request) {
                self.draw_from(chunk.sequence, own, events);
            }
        }
    }

    /// Draws from the rows of one sequence. A row after the first holds if the token before it
    /// was guessed right.
    fn draw_from(&mut self, id: SequenceId, logits: &[f32], events: &mut Events) {
        let rows = logits.chunks_exact(self.card.vocabulary as usize);
        let guessed = rows.len().saturating_sub(1);
        let mut right = 0;
        for (index, row) in rows.enumerate() {
            let drawn = match self.sample(id, row) {
                Ok(drawn) => drawn,
                Err(error) => return self.give_up(id, error, events),
            };
            let guess = self.drafts.of(id).get(index).filter(|_| index < guessed);
            let is_right = guess == Some(&drawn.id.0);
            right += u32::from(is_right);
            let ended = match self.commit(id, drawn, is_right, events) {
                Ok(ended) => ended,
                Err(lost) => return self.give_up(id, lost.into(), events),
            };
            if ended || !is_right {
                self.drafts.judge(id, right, guessed as u32);
            }
            if ended {
                return;
            }
            if !is_right {
                break;
            }
        }
        self.scheduler.commit(id);
    }

    fn sample(&mut self, id: SequenceId, logits: &[f32]) -> Result<Drawn, NoToken> {
        let request = self.requests.get_mut(&id.request).expect("a planned request is known");
        let sequence = &mut request.choices[id.choice as usize];
        let allowed = sequence.allowed(&request.ending, &self.tokenizer)?;
        let barred = match allowed {
            None => sequence.barred(&request.ending, &self.tokenizer),
            Some(_) => Vec::new(),
        };
        let draw = Draw {
            choice: id.choice,
            index: sequence.drawn().len() as u32,
            prompt: &request.submission.prompt.ids,
            occurrences: sequence.occurrences(),
            barred: &barred,
            allowed: allowed.as_ref(),
        };
        Ok(draw.from(logits, &request.submission.sampling, &mut self.scratch)?)
    }

    /// Adds a drawn token to its answer and says so; ends the answer, and with the last one
    /// the request. `computed` says that the token's own position was computed in this step
    /// too. True if the answer ended.
    fn commit(
        &mut self,
        id: SequenceId,
        drawn: Drawn,
        computed: bool,
        events: &mut Events,
    ) -> Result<bool, Lost> {
        let logprob = drawn.logprobs.map(|logprobs| self.name(&logprobs));
        let request = self.requests.get_mut(&id.request).expect("a planned request is known");
        let choice = id.choice;
        self.generation_tokens += 1;
        if request.clock.draws() {
            self.prompt_tokens += request.submission.prompt.ids.len() as u64;
        }
        let sequence = &mut request.choices[choice as usize];
        let index = sequence.drawn().len() as u32;
        let accepted = sequence.accept(drawn.id, &request.ending, &self.tokenizer)?;
        let mut say = |event| events.push((request.key.clone(), event));
        let text = accepted.text;
        say(CoreEvent::Token(Token { choice, index, id: drawn.id, text, logprob }));
        let Some(end) = accepted.end else {
            self.scheduler.grow(id, drawn.id.0, computed);
            return Ok(false);
        };
        say(CoreEvent::Finished(Finished { choice, reason: end.reason, text: end.text }));
        self.scheduler.commit(id);
        if let Some(hold) = request.submission.hold {
            self.scheduler.pin(id, self.started.elapsed() + hold);
        }
        self.scheduler.remove(id);
        self.drafts.forget(id);
        if let Some(usage) = request.usage() {
            let timings = request.clock.timings();
            events.push((request.key.clone(), CoreEvent::Usage(usage, timings)));
            self.forget(id.request);
        }
        Ok(true)
    }

    /// Gives a request up that no token can be drawn for, and that alone.
    fn give_up(&mut self, id: SequenceId, why: NoToken, events: &mut Events) {
        match why {
            NoToken::NotFinite(error) => {
                tracing::error!(%error, "no token can be drawn");
                self.scheduler.disown(id);
                self.fail(id, events);
            }
            NoToken::Lost(lost) => {
                let request = &self.requests[&id.request].key.request;
                // why is for the client alone: it may quote the answer
                let reason = "its grammar cannot be followed";
                tracing::warn!(%request, choice = id.choice, reason, "request refused");
                self.fail_with(id, lost.into(), events);
            }
        }
    }

    /// Gives a request up, with all its choices.
    fn fail(&mut self, id: SequenceId, events: &mut Events) {
        self.fail_with(id, EngineError::Internal, events);
    }

    fn fail_with(&mut self, id: SequenceId, error: EngineError, events: &mut Events) {
        if let Some(request) = self.requests.get(&id.request) {
            events.push((request.key.clone(), CoreEvent::Failed(error)));
            self.forget(id.request);
        }
    }

    /// Log-probabilities with the bytes of their tokens.
    fn name(&self, logprobs: &Logprobs) -> TokenLogprob {
        let name = |candidate: &Candidate| CandidateToken {
            id: candidate.id,
            bytes: self.tokenizer.bytes(candidate.id.0).to_vec(),
            logprob: candidate.logprob,
        };
        let top = logprobs.top.iter().map(name).collect();
        TokenLogprob { drawn: name(&logprobs.drawn), top }
    }
}

/// Shows the values of a contiguous tensor: where they are when that is this machine's memory, and
/// a copy of them otherwise.
fn with_values<T>(tensor: &Tensor, see: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
        return Ok(see(&storage.as_slice()?[start..end]));
    }
    Ok(see(&tensor.flatten_all()?.to_vec1()?))
}
