//! One step: plan, forward, sample, commit.

use engine_api::{CandidateToken, EngineError, Finished, Token, TokenId, TokenLogprob};

use super::Core;
use crate::event::{CoreEvent, SequenceKey};
use crate::model::Batch;
use crate::sampler::{Candidate, Draw, Drawn, Logprobs, NotFinite};
use crate::scheduler::{Plan, SequenceId};
use crate::trace;

type Events = Vec<(SequenceKey, CoreEvent)>;

impl Core {
    /// Runs what the scheduler plans, and says what came of it. Empty when there is nothing
    /// to do, or when only prompts were read.
    pub fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)> {
        let mut events = std::mem::take(&mut self.pending);
        let plan = self.scheduler.plan();
        if plan.chunks.is_empty() {
            return events;
        }
        let _spans = self.enter(&plan);
        let batch = self.batch(&plan);
        match self.forward(&batch) {
            Ok(logits) => self.draw(&plan, &logits, &mut events),
            Err(error) => {
                tracing::error!(%error, "the forward pass failed");
                plan.chunks.iter().for_each(|chunk| self.fail(chunk.sequence, &mut events));
            }
        }
        events
    }

    /// Spans of the traced requests in the plan; they end when they are dropped.
    fn enter(&self, plan: &Plan) -> Vec<tracing::Span> {
        let span = |chunk: &crate::scheduler::Chunk| {
            let request = &self.requests[&chunk.sequence.request];
            trace::step(&request.submission, &request.span, chunk.start, chunk.length)
        };
        plan.chunks.iter().map(span).collect()
    }

    fn batch(&self, plan: &Plan) -> Batch {
        let mut batch = Batch::default();
        for chunk in &plan.chunks {
            let request = &self.requests[&chunk.sequence.request];
            let table = self.scheduler.table(chunk.sequence);
            let positions = chunk.start..chunk.start + chunk.length;
            let tokens = positions.map(|position| request.token(chunk.sequence.choice, position).0);
            batch.push(tokens, chunk.start, std::slice::from_ref(table), u32::from(chunk.drawn));
        }
        batch
    }

    /// Logits of the batch's drawn rows, one row after the other.
    fn forward(&self, batch: &Batch) -> candle_core::Result<Vec<f32>> {
        let logits = self.threads.install(|| self.model.forward(batch, &self.cache))?;
        logits.flatten_all()?.to_vec1()
    }

    fn draw(&mut self, plan: &Plan, logits: &[f32], events: &mut Events) {
        let rows = logits.chunks_exact(self.card.vocabulary as usize);
        let drawn = plan.chunks.iter().filter(|chunk| chunk.drawn);
        for (chunk, row) in drawn.zip(rows) {
            // a sibling may have failed a moment ago, and the request with it
            if !self.requests.contains_key(&chunk.sequence.request) {
                continue;
            }
            match self.sample(chunk.sequence, row) {
                Ok(drawn) => self.commit(chunk.sequence, drawn, events),
                Err(error) => {
                    tracing::error!(%error, "no token can be drawn");
                    self.fail(chunk.sequence, events);
                }
            }
        }
    }

    fn sample(&self, id: SequenceId, logits: &[f32]) -> Result<Drawn, NotFinite> {
        let request = &self.requests[&id.request];
        let sequence = &request.choices[id.choice as usize];
        let end_tokens: Vec<TokenId> = if sequence.bars_end(&request.ending) {
            self.tokenizer.end_tokens().iter().copied().map(TokenId).collect()
        } else {
            Vec::new()
        };
        let draw = Draw {
            choice: id.choice,
            index: sequence.drawn().len() as u32,
            occurrences: sequence.occurrences(),
            barred: &end_tokens,
        };
        draw.from(logits, &request.submission.sampling)
    }

    /// Adds a drawn token to its answer and says so; ends the answer, and with the last one
    /// the request.
    fn commit(&mut self, id: SequenceId, drawn: Drawn, events: &mut Events) {
        let logprob = drawn.logprobs.map(|logprobs| self.name(&logprobs));
        let request = self.requests.get_mut(&id.request).expect("a planned request is known");
        let choice = id.choice;
        let sequence = &mut request.choices[choice as usize];
        let index = sequence.drawn().len() as u32;
        let accepted = sequence.accept(drawn.id, &request.ending, &self.tokenizer);
        let mut say = |event| events.push((request.key.clone(), event));
        let text = accepted.text;
        say(CoreEvent::Token(Token { choice, index, id: drawn.id, text, logprob }));
        let Some(end) = accepted.end else {
            return self.scheduler.grow(id);
        };
        say(CoreEvent::Finished(Finished { choice, reason: end.reason, text: end.text }));
        self.scheduler.remove(id);
        if let Some(usage) = request.usage() {
            events.push((request.key.clone(), CoreEvent::Usage(usage)));
            self.forget(id.request);
        }
    }

    /// Gives a request up, with all its choices.
    fn fail(&mut self, id: SequenceId, events: &mut Events) {
        if let Some(request) = self.requests.get(&id.request) {
            events.push((request.key.clone(), CoreEvent::Failed(EngineError::Internal)));
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
