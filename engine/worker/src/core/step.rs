//! One step: plan, forward, sample, commit.

use std::time::Instant;

use engine_api::{CandidateToken, EngineError, Finished, Token, TokenLogprob};

use super::Core;
use crate::event::{CoreEvent, SequenceKey};
use crate::model::Batch;
use crate::sampler::{Candidate, Draw, Drawn, Logprobs, NotFinite};
use crate::scheduler::{Chunk, Plan, SequenceId};
use crate::trace;

type Events = Vec<(SequenceKey, CoreEvent)>;

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
        match self.forward(&plan, &batch) {
            Ok(logits) => self.draw(&plan, &logits, &mut events),
            Err(error) => {
                tracing::error!(%error, "the forward pass failed");
                plan.chunks.iter().for_each(|chunk| self.fail(chunk.sequence, &mut events));
            }
        }
        self.scheduler.observe(plan.tokens(), begun.elapsed());
        events
    }

    /// Tells the scheduler what might follow the sequences that decode.
    fn guess(&mut self) {
        let decoding: Vec<_> = self.scheduler.decoding().collect();
        for id in self.drafts.worth_while(&decoding) {
            let drafts = self.drafts.guess(*id, &self.requests[&id.request]);
            self.scheduler.draft(*id, drafts);
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

    /// Logits of the batch's drawn rows, one row after the other.
    fn forward(&self, plan: &Plan, batch: &Batch) -> candle_core::Result<Vec<f32>> {
        self.cache.copy(plan.copies.iter().map(|(_, copy)| copy))?;
        let logits = self.threads.install(|| self.model.forward(batch, &self.cache))?;
        logits.flatten_all()?.to_vec1()
    }

    fn draw(&mut self, plan: &Plan, logits: &[f32], events: &mut Events) {
        let mut rows = logits.chunks_exact(self.card.vocabulary as usize);
        for chunk in &plan.chunks {
            let own: Vec<_> = rows.by_ref().take(chunk.drawn as usize).collect();
            // a sibling may have failed a moment ago, and the request with it
            if self.requests.contains_key(&chunk.sequence.request) {
                self.draw_from(chunk.sequence, &own, events);
            }
        }
    }

    /// Draws from the rows of one sequence. A row after the first holds if the token before it
    /// was guessed right.
    fn draw_from(&mut self, id: SequenceId, rows: &[&[f32]], events: &mut Events) {
        for (index, row) in rows.iter().enumerate() {
            let drawn = match self.sample(id, row) {
                Ok(drawn) => drawn,
                Err(error) => {
                    tracing::error!(%error, "no token can be drawn");
                    self.scheduler.disown(id);
                    return self.fail(id, events);
                }
            };
            let guessed = self.drafts.of(id).get(index).filter(|_| index + 1 < rows.len());
            let is_right = guessed == Some(&drawn.id.0);
            if self.commit(id, drawn, is_right, events) {
                return;
            }
            if !is_right {
                self.drafts.judge(id, index as u32, rows.len() as u32 - 1);
                break;
            }
        }
        self.scheduler.commit(id);
    }

    fn sample(&self, id: SequenceId, logits: &[f32]) -> Result<Drawn, NotFinite> {
        let request = &self.requests[&id.request];
        let sequence = &request.choices[id.choice as usize];
        let barred = sequence.barred(&request.ending, &self.tokenizer);
        let draw = Draw {
            choice: id.choice,
            index: sequence.drawn().len() as u32,
            prompt: &request.submission.prompt.ids,
            occurrences: sequence.occurrences(),
            barred: &barred,
        };
        draw.from(logits, &request.submission.sampling)
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
    ) -> bool {
        let logprob = drawn.logprobs.map(|logprobs| self.name(&logprobs));
        let request = self.requests.get_mut(&id.request).expect("a planned request is known");
        let choice = id.choice;
        self.generation_tokens += 1;
        if request.clock.draws() {
            self.prompt_tokens += request.submission.prompt.ids.len() as u64;
        }
        let sequence = &mut request.choices[choice as usize];
        let index = sequence.drawn().len() as u32;
        let accepted = sequence.accept(drawn.id, &request.ending, &self.tokenizer);
        let mut say = |event| events.push((request.key.clone(), event));
        let text = accepted.text;
        say(CoreEvent::Token(Token { choice, index, id: drawn.id, text, logprob }));
        let Some(end) = accepted.end else {
            self.scheduler.grow(id, drawn.id.0, computed);
            return false;
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
        true
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
