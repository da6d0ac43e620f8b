//! The answer as server-sent events, in the order that every client takes: for each choice
//! its role, its reasoning, content and calls, its finish; then the usage where asked; then `[DONE]`.

use bytes::{BufMut, BytesMut};
use engine_api::{Choices, Event, OutputEvent, Usage};
use serde::Serialize;

use super::shape::{CallShape, Called, FunctionShape, Head, UsageShape, finish_reason};
use crate::api::answer::fingerprint;
use crate::api::logprobs::LogprobsShape;
use crate::api::reasoning_tokens::ReasoningTokens;
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
    reasoning: ReasoningTokens,
    /// By choice.
    called: Vec<Called>,
    /// Of the last token, until it is known what its text turns out to be.
    logprobs: Option<(u8, LogprobsShape)>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallShape<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionShape<'a>>,
}

impl Chunks {
    /// Nothing is written before the first placement.
    pub fn new(head: Head, rendering: Rendering, choices: Choices, prompt_tokens: u32) -> Self {
        let so_far = Usage { prompt_tokens, ..Usage::default() };
        let called = vec![Called::default(); usize::from(choices.get())];
        let (fingerprint, reasoning, logprobs) = (None, ReasoningTokens::default(), None);
        Self { head, rendering, choices, fingerprint, so_far, reasoning, called, logprobs }
    }

    /// Appends the chunks of an event, which may be none.
    pub fn write(&mut self, event: Event, out: &mut BytesMut) {
        self.reasoning.observe(&event);
        match event {
            Event::Placed(placement) => {
                // another placement follows a worker's death: the answer just goes on
                if self.fingerprint.is_none() {
                    self.fingerprint = Some(fingerprint(&placement));
                    (0..self.choices.get()).for_each(|index| self.open(index, out));
                }
            }
            Event::Token(token) => {
                self.flush(out);
                self.so_far.completion_tokens += 1;
                self.logprobs = token.logprob.map(|logprob| (token.choice, logprob.into()));
            }
            Event::Output { choice, output } => self.output(choice, &output, out),
            Event::Finished(finished) => {
                self.flush(out);
                let called = self.called[usize::from(finished.choice)];
                let finish_reason = Some(finish_reason(finished.reason, called, self.rendering));
                let (index, delta) = (finished.choice, Delta::default());
                self.choice(ChunkChoice { index, delta, logprobs: None, finish_reason }, out);
            }
            Event::Usage(usage, _) => {
                self.flush(out);
                if self.rendering.include_usage {
                    let usage = UsageShape::of(usage, self.reasoning.count());
                    self.chunk(&[], Some(Some(usage)), out);
                }
            }
        }
    }

    /// Appends what waits for the text of the last token. To be called where no event is there
    /// that could have it.
    pub fn flush(&mut self, out: &mut BytesMut) {
        if let Some((index, logprobs)) = self.logprobs.take() {
            let delta = Delta { content: Some(""), ..Delta::default() };
            let logprobs = Some(logprobs);
            self.choice(ChunkChoice { index, delta, logprobs, finish_reason: None }, out);
        }
    }

    fn output(&mut self, index: u8, output: &OutputEvent, out: &mut BytesMut) {
        self.called[usize::from(index)].observe(output);
        let delta = match output {
            OutputEvent::Content(text) => Delta { content: Some(text), ..Delta::default() },
            OutputEvent::Reasoning(text) => {
                Delta { reasoning_content: Some(text), ..Delta::default() }
            }
            OutputEvent::CallStarted { index, id, name } => {
                let function = FunctionShape { name: Some(name), arguments: "" };
                self.call(*index, Some(id), function)
            }
            OutputEvent::Arguments { text, .. } if text.is_empty() => return,
            OutputEvent::Arguments { index, text } => {
                self.call(*index, None, FunctionShape { name: None, arguments: text })
            }
            OutputEvent::CallFinished { .. } | OutputEvent::CallAbandoned { .. } => return,
        };
        let logprobs = match self.logprobs.take() {
            Some((choice, logprobs)) if choice == index => Some(logprobs),
            other => {
                self.logprobs = other;
                None
            }
        };
        self.choice(ChunkChoice { index, delta, logprobs, finish_reason: None }, out);
    }

    fn call<'a>(
        &self,
        index: usize,
        id: Option<&'a str>,
        function: FunctionShape<'a>,
    ) -> Delta<'a> {
        if self.rendering.legacy_calls {
            return Delta { function_call: Some(function), ..Delta::default() };
        }
        let call = CallShape { index: Some(index), id, kind: id.map(|_| "function"), function };
        Delta { tool_calls: Some([call]), ..Delta::default() }
    }

    fn open(&self, index: u8, out: &mut BytesMut) {
        let delta = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
        self.choice(ChunkChoice { index, delta, logprobs: None, finish_reason: None }, out);
    }

    fn choice(&self, choice: ChunkChoice<'_>, out: &mut BytesMut) {
        let usage = match self.rendering {
            Rendering { continuous_usage: true, .. } => {
                Some(Some(UsageShape::of(self.so_far, self.reasoning.count())))
            }
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

    fn flush(&mut self, out: &mut BytesMut) {
        Self::flush(self, out);
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
