//! The whole answer as one JSON object.

use engine_api::{Choices, Event, FinishReason, OutputEvent, Usage};
use serde::Serialize;

use super::shape::{Head, UsageShape, finish_reason};
use crate::api::answer::{Gather, fingerprint};
use crate::api::logprobs::LogprobsShape;

/// Gathers the events of one request.
pub struct Gathered {
    head: Head,
    choices: Vec<GatheredChoice>,
    fingerprint: Option<String>,
    usage: Option<Usage>,
}

#[derive(Default)]
struct GatheredChoice {
    content: String,
    logprobs: Option<LogprobsShape>,
    finished: Option<FinishReason>,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: UsageShape,
    system_fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: AssistantMessage<'a>,
    logprobs: Option<&'a LogprobsShape>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct AssistantMessage<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<&'a str>,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(head: Head, choices: Choices) -> Self {
        let choices = (0..choices.get()).map(|_| GatheredChoice::default()).collect();
        Self { head, choices, fingerprint: None, usage: None }
    }
}

impl Gather for Gathered {
    fn push(&mut self, _prompt: usize, event: Event) {
        match event {
            Event::Placed(placement) => self.fingerprint = Some(fingerprint(&placement)),
            Event::Token(token) => {
                let choice = &mut self.choices[usize::from(token.choice)];
                if let Some(position) = token.logprob {
                    let logprobs = choice.logprobs.get_or_insert_default();
                    logprobs.content.push(position.into());
                }
            }
            Event::Output { choice, output } => {
                if let OutputEvent::Content(text) = output {
                    self.choices[usize::from(choice)].content.push_str(&text);
                }
            }
            Event::Finished(finished) => {
                let choice = &mut self.choices[usize::from(finished.choice)];
                choice.finished = Some(finished.reason);
            }
            Event::Usage(usage, _) => self.usage = Some(usage),
        }
    }

    fn json(&self) -> Option<Vec<u8>> {
        let head = &self.head;
        let choices = self.choices.iter().enumerate().map(|(index, choice)| {
            let message =
                AssistantMessage { role: "assistant", content: &choice.content, refusal: None };
            let finish_reason = finish_reason(choice.finished?);
            Some(Choice { index, message, logprobs: choice.logprobs.as_ref(), finish_reason })
        });
        let completion = Completion {
            id: &head.id,
            object: "chat.completion",
            created: head.created,
            model: &head.model,
            choices: choices.collect::<Option<_>>()?,
            usage: self.usage?.into(),
            system_fingerprint: self.fingerprint.as_deref(),
            service_tier: head.service_tier.then_some("default"),
        };
        Some(serde_json::to_vec(&completion).expect("strings, numbers and arrays become JSON"))
    }
}
