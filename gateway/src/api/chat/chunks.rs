//! The answer as server-sent events, in the order that every client takes: for each choice
//! its role, its content, its finish; then the usage where asked; then `[DONE]`.

use bytes::{BufMut, BytesMut};
use engine_api::{Choices, Event, OutputEvent, Usage};
use serde::Serialize;

use super::shape::{Head, UsageShape, finish_reason};
use crate::api::answer::fingerprint;
use crate::api::logprobs::LogprobsShape;
use crate::api::rendering::Rendering;
use crate::api::stream::{DONE, EventWriter, event};
use crate::error::Refusal;

/// Turns events into chunks.
pub struct Chunks {
    head: Head,
    rendering: Rendering,
    choices: Choices,
    /// Set by the first placement, which also opens the choices.
    fingerprint: Option<String>,
    /// The counts so far, for clients that want them in every chunk.
    so_far: Usage,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    choices: &'a [ChunkChoice<'a>],
    /// Null in every chunk but the last when the client asks for usage; else not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageShape>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u8,
    delta: Delta<'a>,
    logprobs: Option<LogprobsShape>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl<'a> ChunkChoice<'a> {
    fn content(index: u8, text: &'a str, logprobs: Option<LogprobsShape>) -> Self {
        let delta = Delta { role: None, content: Some(text) };
        Self { index, delta, logprobs, finish_reason: None }
    }
}

impl Chunks {
    /// Nothing is written before the first placement.
    pub fn new(head: Head, rendering: Rendering, choices: Choices, prompt_tokens: u32) -> Self {
        let so_far = Usage { prompt_tokens, ..Usage::default() };
        Self { head, rendering, choices, fingerprint: None, so_far }
    }

    /// Appends the chunks of an event, which may be none.
    pub fn write(&mut self, event: Event, out: &mut BytesMut) {
        match event {
            Event::Placed(placement) => {
                // another placement follows a worker's death: the answer just goes on
                if self.fingerprint.is_none() {
                    self.fingerprint = Some(fingerprint(&placement));
                    (0..self.choices.get()).for_each(|index| self.open(index, out));
                }
            }
            Event::Token(token) => {
                self.so_far.completion_tokens += 1;
                if let Some(logprobs) = token.logprob.map(LogprobsShape::from) {
                    self.choice(ChunkChoice::content(token.choice, "", Some(logprobs)), out);
                }
            }
            Event::Output { choice, output } => {
                if let OutputEvent::Content(text) = output {
                    self.choice(ChunkChoice::content(choice, &text, None), out);
                }
            }
            Event::Finished(finished) => {
                let finish_reason = Some(finish_reason(finished.reason));
                let (index, delta) = (finished.choice, Delta::default());
                self.choice(ChunkChoice { index, delta, logprobs: None, finish_reason }, out);
            }
            Event::Usage(usage, _) => {
                if self.rendering.include_usage {
                    self.chunk(&[], Some(Some(usage.into())), out);
                }
            }
        }
    }

    fn open(&self, index: u8, out: &mut BytesMut) {
        let delta = Delta { role: Some("assistant"), content: Some("") };
        self.choice(ChunkChoice { index, delta, logprobs: None, finish_reason: None }, out);
    }

    fn choice(&self, choice: ChunkChoice<'_>, out: &mut BytesMut) {
        let usage = match self.rendering {
            Rendering { continuous_usage: true, .. } => Some(Some(self.so_far.into())),
            Rendering { include_usage: true, .. } => Some(None),
            _ => None,
        };
        self.chunk(&[choice], usage, out);
    }

    fn chunk(
        &self,
        choices: &[ChunkChoice<'_>],
        usage: Option<Option<UsageShape>>,
        out: &mut BytesMut,
    ) {
        let chunk = Chunk {
            id: &self.head.id,
            object: "chat.completion.chunk",
            created: self.head.created,
            model: &self.head.model,
            system_fingerprint: self.fingerprint.as_deref(),
            service_tier: self.head.service_tier.then_some("default"),
            choices,
            usage,
        };
        event(&chunk, out);
    }
}

impl EventWriter for Chunks {
    fn write(&mut self, _prompt: usize, event: Event, out: &mut BytesMut) {
        Self::write(self, event, out);
    }

    fn done(&mut self, out: &mut BytesMut) {
        out.put_slice(DONE);
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        event(&refusal.body(), out);
    }
}

#[cfg(test)]
mod tests;
