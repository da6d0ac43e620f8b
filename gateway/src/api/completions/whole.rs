//! The whole answer as one JSON object.

use engine_api::{Event, FinishReason, OutputEvent, Usage};

use super::logprobs::{LogprobsShape, Offset};
use super::shape::{ChoiceShape, CompletionShape, Head, finish_reason};
use crate::api::answer::{Gather, fingerprint};

/// Gathers the events of all prompts.
pub struct Gathered {
    head: Head,
    choices: Vec<Choice>,
    fingerprint: Option<String>,
    /// By prompt.
    usage: Vec<Option<Usage>>,
}

#[derive(Default)]
struct Choice {
    text: String,
    logprobs: Option<LogprobsShape>,
    offset: Offset,
    finished: Option<FinishReason>,
}

impl Gathered {
    /// Nothing but what is echoed.
    pub fn new(head: Head, prompts: usize) -> Self {
        let choice = |index| {
            let text = head.echoes.get(head.prompt(index)).cloned().unwrap_or_default();
            Choice { text, ..Choice::default() }
        };
        let count = prompts * usize::from(head.choices.get());
        let choices = (0..count).map(choice).collect();
        Self { head, choices, fingerprint: None, usage: vec![None; prompts] }
    }
}

impl Gather for Gathered {
    fn push(&mut self, prompt: usize, event: Event) {
        match event {
            Event::Placed(placement) => self.fingerprint = Some(fingerprint(&placement)),
            Event::Token(token) => {
                let choice = &mut self.choices[self.head.index(prompt, token.choice)];
                if let Some(logprob) = token.logprob {
                    choice.logprobs.get_or_insert_default().push(logprob, &mut choice.offset);
                }
            }
            Event::Output { choice, output } => {
                let choice = &mut self.choices[self.head.index(prompt, choice)];
                // a text that goes on has neither turns nor tools: all of it is the answer
                if let OutputEvent::Content(text) | OutputEvent::Reasoning(text) = output {
                    choice.text.push_str(&text);
                }
            }
            Event::Finished(finished) => {
                let choice = &mut self.choices[self.head.index(prompt, finished.choice)];
                choice.finished = Some(finished.reason);
            }
            Event::Usage(usage, _) => self.usage[prompt] = Some(usage),
        }
    }

    fn json(&self) -> Option<Vec<u8>> {
        let choices = self.choices.iter().enumerate().map(|(index, choice)| {
            let finish_reason = Some(finish_reason(choice.finished?));
            let (text, logprobs) = (choice.text.as_str(), choice.logprobs.as_ref());
            Some(ChoiceShape { index, text, logprobs, finish_reason })
        });
        let usage = self
            .usage
            .iter()
            .copied()
            .try_fold(Usage::default(), |sum, one| Some(sum_of(sum, one?)))?;
        let completion = CompletionShape {
            id: &self.head.id,
            object: "text_completion",
            created: self.head.created,
            model: &self.head.model,
            system_fingerprint: self.fingerprint.as_deref(),
            choices: &choices.collect::<Option<Vec<_>>>()?,
            usage: Some(Some(usage.into())),
        };
        Some(serde_json::to_vec(&completion).expect("strings, numbers and arrays become JSON"))
    }
}

/// What two prompts took together.
pub fn sum_of(one: Usage, other: Usage) -> Usage {
    Usage {
        prompt_tokens: one.prompt_tokens + other.prompt_tokens,
        completion_tokens: one.completion_tokens + other.completion_tokens,
        cached_tokens: one.cached_tokens + other.cached_tokens,
    }
}
