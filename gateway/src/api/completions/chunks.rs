//! The answer as server-sent events: for each choice its text and its finish; then the usage
//! where asked; then `[DONE]`.

use bytes::{BufMut, BytesMut};
use engine_api::{Event, OutputEvent, Usage};

use super::logprobs::{LogprobsShape, Offset};
use super::shape::{ChoiceShape, CompletionShape, Head, finish_reason};
use super::whole::sum_of;
use crate::api::answer::fingerprint;
use crate::api::chat::shape::UsageShape;
use crate::api::rendering::Rendering;
use crate::api::stream::{DONE, EventWriter, event};
use crate::error::Refusal;

/// Turns events into chunks.
pub struct Chunks {
    head: Head,
    rendering: Rendering,
    choices: Vec<Choice>,
    /// By prompt: whether it was placed, and so its choices begun.
    begun: Vec<bool>,
    fingerprint: Option<String>,
    /// The counts so far, for clients that want them in every chunk.
    so_far: Usage,
    /// Those of the prompts that have ended.
    usage: Usage,
}

#[derive(Default)]
struct Choice {
    /// Of tokens whose text is not certain yet.
    waiting: Option<LogprobsShape>,
    offset: Offset,
}

impl Chunks {
    /// Nothing is written before the first placement.
    pub fn new(head: Head, rendering: Rendering, prompts: usize, prompt_tokens: u32) -> Self {
        let count = prompts * usize::from(head.choices.get());
        Self {
            head,
            rendering,
            choices: (0..count).map(|_| Choice::default()).collect(),
            begun: vec![false; prompts],
            fingerprint: None,
            so_far: Usage { prompt_tokens, ..Usage::default() },
            usage: Usage::default(),
        }
    }

    fn begin(&mut self, prompt: usize, out: &mut BytesMut) {
        // another placement follows a worker's death: the answer just goes on
        if std::mem::replace(&mut self.begun[prompt], true) || self.head.echoes.is_empty() {
            return;
        }
        for choice in 0..self.head.choices.get() {
            let (index, text) = (self.head.index(prompt, choice), &*self.head.echoes[prompt]);
            self.choice(ChoiceShape { index, text, logprobs: None, finish_reason: None }, out);
        }
    }

    fn text(&mut self, index: usize, text: &str, out: &mut BytesMut) {
        let logprobs = self.choices[index].waiting.take();
        let logprobs = logprobs.as_ref();
        self.choice(ChoiceShape { index, text, logprobs, finish_reason: None }, out);
    }

    fn choice(&self, choice: ChoiceShape<'_>, out: &mut BytesMut) {
        let usage = match self.rendering {
            Rendering { continuous_usage: true, .. } => Some(Some(self.so_far.into())),
            Rendering { include_usage: true, .. } => Some(None),
            _ => None,
        };
        self.chunk(&[choice], usage, out);
    }

    fn chunk(
        &self,
        choices: &[ChoiceShape<'_>],
        usage: Option<Option<UsageShape>>,
        out: &mut BytesMut,
    ) {
        let chunk = CompletionShape {
            id: &self.head.id,
            object: "text_completion",
            created: self.head.created,
            model: &self.head.model,
            system_fingerprint: self.fingerprint.as_deref(),
            choices,
            usage,
        };
        event(&chunk, out);
    }
}

impl EventWriter for Chunks {
    fn write(&mut self, prompt: usize, event: Event, out: &mut BytesMut) {
        match event {
            Event::Placed(placement) => {
                self.fingerprint.get_or_insert_with(|| fingerprint(&placement));
                self.begin(prompt, out);
            }
            Event::Token(token) => {
                self.so_far.completion_tokens += 1;
                let choice = &mut self.choices[self.head.index(prompt, token.choice)];
                if let Some(logprob) = token.logprob {
                    choice.waiting.get_or_insert_default().push(logprob, &mut choice.offset);
                }
            }
            Event::Output { choice, output } => {
                // a text that goes on has neither turns nor tools: all of it is the answer
                if let OutputEvent::Content(text) | OutputEvent::Reasoning(text) = output {
                    self.text(self.head.index(prompt, choice), &text, out);
                }
            }
            Event::Finished(finished) => {
                let index = self.head.index(prompt, finished.choice);
                let logprobs = self.choices[index].waiting.take();
                let finish_reason = Some(finish_reason(finished.reason));
                let logprobs = logprobs.as_ref();
                self.choice(ChoiceShape { index, text: "", logprobs, finish_reason }, out);
            }
            Event::Usage(usage, _) => self.usage = sum_of(self.usage, usage),
        }
    }

    fn done(&mut self, out: &mut BytesMut) {
        if self.rendering.include_usage {
            self.chunk(&[], Some(Some(self.usage.into())), out);
        }
        out.put_slice(DONE);
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        event(&refusal.body(), out);
    }
}

#[cfg(test)]
mod tests;
