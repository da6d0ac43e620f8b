//! What is known of a message so far.

use std::collections::VecDeque;
use std::sync::Arc;

use engine_api::{Engine, Event, FinishReason, ModelId, StopStrings, TokenId, Usage};
use serde_json::{Value, json};

use super::shape::{BlockShape, MessageShape, UsageShape};
use crate::api::answer::Gather;
use crate::api::parts::{Change, Kind, Part, Parts, State};
use crate::pipeline::Arrival;

/// A message in the making.
pub struct Answered {
    /// `msg_` and the request's id.
    id: String,
    model: String,
    prompt_tokens: u32,
    parts: Parts,
    stops: StopFinder,
    /// The stop sequence that ended it.
    stopped_by: Option<String>,
    finished: Option<FinishReason>,
    usage: Option<Usage>,
}

impl Answered {
    /// Nothing yet.
    pub fn new(arrival: &Arrival, model: String, prompt_tokens: u32, stops: StopFinder) -> Self {
        Self {
            id: format!("msg_{}", arrival.id),
            model,
            prompt_tokens,
            parts: Parts::default(),
            stops,
            stopped_by: None,
            finished: None,
            usage: None,
        }
    }

    /// Takes the next event, and says what it changed.
    pub fn take(&mut self, event: Event) -> Vec<Change> {
        match event {
            Event::Placed(_) => Vec::new(),
            Event::Token(token) => {
                self.stops.push(token.id);
                self.parts.token(token.logprob);
                Vec::new()
            }
            Event::Output { output, .. } => self.parts.push(output),
            Event::Finished(finished) => {
                self.finished = Some(finished.reason);
                if finished.reason == FinishReason::Stop {
                    self.stopped_by = self.stops.find();
                }
                self.parts.finish(finished.reason)
            }
            Event::Usage(usage, _) => {
                self.usage = Some(usage);
                Vec::new()
            }
        }
    }

    /// One of the parts.
    pub fn part(&self, index: usize) -> &Part {
        &self.parts.all()[index]
    }

    /// A block as it is now. One that is open is empty, because what it gets is told piece by
    /// piece.
    pub fn block(&self, index: usize) -> BlockShape<'_> {
        let part = self.part(index);
        let text = if part.state == State::Open { "" } else { part.text.as_str() };
        match &part.kind {
            Kind::Text => BlockShape::Text { text },
            Kind::Reasoning => BlockShape::Thinking { thinking: text, signature: "" },
            Kind::Call { id, name } => {
                // empty while its block is open
                let input = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
                BlockShape::ToolUse { id, name, input: input.unwrap_or_else(|| json!({})) }
            }
        }
    }

    /// Why it ended, once it has.
    pub fn stop_reason(&self) -> Option<&'static str> {
        Some(match self.finished? {
            FinishReason::Length => "max_tokens",
            FinishReason::Stop if self.parts.has_call() => "tool_use",
            FinishReason::Stop if self.stopped_by.is_some() => "stop_sequence",
            FinishReason::Stop => "end_turn",
        })
    }

    /// Which stop sequence ended it.
    pub fn stop_sequence(&self) -> Option<&str> {
        self.stopped_by.as_deref().filter(|_| self.stop_reason() == Some("stop_sequence"))
    }

    /// What it took so far.
    pub fn usage(&self) -> UsageShape {
        match self.usage {
            None => UsageShape::new(self.prompt_tokens, 0, 0),
            Some(usage) => {
                UsageShape::new(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
            }
        }
    }

    /// All but calls that were cut off: their input is no JSON, and nobody may run them.
    fn blocks(&self) -> impl Iterator<Item = usize> {
        let is_cut_call =
            |part: &Part| part.state == State::Cut && matches!(part.kind, Kind::Call { .. });
        (0..self.parts.all().len()).filter(move |index| !is_cut_call(self.part(*index)))
    }

    /// The message as it is now.
    pub fn message(&self) -> MessageShape<'_> {
        MessageShape {
            id: &self.id,
            kind: "message",
            role: "assistant",
            model: &self.model,
            content: self.blocks().map(|index| self.block(index)).collect(),
            stop_reason: self.stop_reason(),
            stop_sequence: self.stop_sequence(),
            usage: self.usage(),
        }
    }
}

impl Gather for Answered {
    fn push(&mut self, _prompt: usize, event: Event) {
        self.take(event);
    }

    fn json(&self) -> Option<Vec<u8>> {
        self.usage.and(self.finished)?;
        let message = self.message();
        Some(serde_json::to_vec(&message).expect("strings, numbers and arrays become JSON"))
    }
}

/// Finds out which stop sequence ended an answer: the text that it has no longer holds it, but
/// the last tokens do.
pub struct StopFinder {
    engine: Arc<dyn Engine>,
    model: ModelId,
    sequences: Vec<String>,
    /// The last tokens: as many as the longest sequence has bytes, and one.
    last: VecDeque<TokenId>,
    most: usize,
}

impl StopFinder {
    /// For these sequences.
    pub fn new(engine: Arc<dyn Engine>, model: ModelId, stop: &StopStrings) -> Self {
        let sequences = stop.as_slice().to_vec();
        // a token without any text may be among them
        let most = sequences.iter().map(|one| one.len() + 1).max().unwrap_or(0);
        Self { engine, model, sequences, last: VecDeque::new(), most }
    }

    fn push(&mut self, token: TokenId) {
        if self.most > 0 {
            if self.last.len() == self.most {
                self.last.pop_front();
            }
            self.last.push_back(token);
        }
    }

    /// The sequence that comes first in the last tokens, if there is one.
    fn find(&self) -> Option<String> {
        if self.sequences.is_empty() {
            return None;
        }
        let last: Vec<TokenId> = self.last.iter().copied().collect();
        let text = self.engine.detokenize(&self.model, &last).ok()?;
        let found = self.sequences.iter().filter_map(|one| Some((text.find(one)?, one)));
        found.min_by_key(|(at, _)| *at).map(|(_, one)| one.clone())
    }
}
