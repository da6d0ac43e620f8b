//! The whole answer as one JSON object.

use engine_api::{Choices, Event, FinishReason, FunctionCall, OutputEvent, ToolCall, Usage};
use serde::Serialize;

use super::shape::{CallShape, Called, FunctionShape, Head, UsageShape, finish_reason};
use crate::api::answer::{Gather, fingerprint};
use crate::api::logprobs::LogprobsShape;
use crate::api::reasoning_tokens::ReasoningTokens;
use crate::api::rendering::Rendering;

/// Gathers the events of one request.
pub struct Gathered {
    head: Head,
    rendering: Rendering,
    reasoning: ReasoningTokens,
    choices: Vec<GatheredChoice>,
    fingerprint: Option<String>,
    usage: Option<Usage>,
}

#[derive(Default)]
struct GatheredChoice {
    content: String,
    reasoning: String,
    /// In their order.
    calls: Vec<ToolCall>,
    called: Called,
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
    /// Null where there are only calls.
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionShape<'a>>,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(head: Head, rendering: Rendering, choices: Choices) -> Self {
        let choices = (0..choices.get()).map(|_| GatheredChoice::default()).collect();
        let reasoning = ReasoningTokens::default();
        Self { head, rendering, reasoning, choices, fingerprint: None, usage: None }
    }
}

impl Gather for Gathered {
    fn push(&mut self, _prompt: usize, event: Event) {
        self.reasoning.observe(&event);
        match event {
            Event::Placed(placement) => self.fingerprint = Some(fingerprint(&placement)),
            Event::Token(token) => {
                let choice = &mut self.choices[usize::from(token.choice)];
                if let Some(position) = token.logprob {
                    let logprobs = choice.logprobs.get_or_insert_default();
                    logprobs.content.push(position.into());
                }
            }
            Event::Output { choice, output } => self.choices[usize::from(choice)].push(output),
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
            let message = choice.message(self.rendering);
            let finish_reason = finish_reason(choice.finished?, choice.called, self.rendering);
            Some(Choice { index, message, logprobs: choice.logprobs.as_ref(), finish_reason })
        });
        let completion = Completion {
            id: &head.id,
            object: "chat.completion",
            created: head.created,
            model: &head.model,
            choices: choices.collect::<Option<_>>()?,
            usage: UsageShape::of(self.usage?, self.reasoning.count()),
            system_fingerprint: self.fingerprint.as_deref(),
            service_tier: head.service_tier.then_some("default"),
        };
        Some(serde_json::to_vec(&completion).expect("strings, numbers and arrays become JSON"))
    }
}

impl GatheredChoice {
    fn push(&mut self, output: OutputEvent) {
        self.called.observe(&output);
        match output {
            OutputEvent::Content(text) => self.content.push_str(&text),
            OutputEvent::Reasoning(text) => self.reasoning.push_str(&text),
            OutputEvent::CallStarted { id, name, .. } => {
                let function = FunctionCall { name, arguments: String::new() };
                self.calls.push(ToolCall { id, function });
            }
            OutputEvent::Arguments { index, text } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.function.arguments.push_str(&text);
                }
            }
            OutputEvent::CallFinished { .. } | OutputEvent::CallAbandoned { .. } => {}
        }
    }

    fn message(&self, rendering: Rendering) -> AssistantMessage<'_> {
        let is_legacy = rendering.legacy_calls;
        let is_only_calls = self.content.is_empty() && !self.calls.is_empty();
        AssistantMessage {
            role: "assistant",
            content: (!is_only_calls).then_some(&self.content),
            refusal: None,
            reasoning_content: (!self.reasoning.is_empty()).then_some(&self.reasoning),
            tool_calls: self.calls.iter().filter(|_| !is_legacy).map(CallShape::from).collect(),
            function_call: self.calls.first().filter(|_| is_legacy).map(FunctionShape::from),
        }
    }
}

#[cfg(test)]
mod tests;
