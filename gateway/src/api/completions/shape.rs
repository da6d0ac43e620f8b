//! The JSON shapes of OpenAI's completions, written and never read.

use engine_api::{Choices, FinishReason};
use serde::Serialize;

use super::logprobs::LogprobsShape;
use crate::api::chat::shape::UsageShape;

/// What is the same in every chunk.
#[derive(Debug)]
pub struct Head {
    /// `cmpl-` and the request's id.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// The model as the client named it.
    pub model: String,
    /// Answers to each prompt.
    pub choices: Choices,
    /// The text that each prompt's answers begin with; empty where they do not.
    pub echoes: Vec<String>,
}

impl Head {
    /// The index of a choice among those of all prompts.
    pub fn index(&self, prompt: usize, choice: u8) -> usize {
        prompt * usize::from(self.choices.get()) + usize::from(choice)
    }

    /// The prompt to which a choice answers.
    pub fn prompt(&self, index: usize) -> usize {
        index / usize::from(self.choices.get())
    }
}

/// The whole answer, or a part of a streamed one.
#[derive(Serialize)]
pub struct CompletionShape<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: i64,
    pub model: &'a str,
    pub system_fingerprint: Option<&'a str>,
    pub choices: &'a [ChoiceShape<'a>],
    /// Null in every chunk but the last when the client asks for usage; else not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<UsageShape>>,
}

/// One answer, or a piece of it.
#[derive(Serialize)]
pub struct ChoiceShape<'a> {
    pub index: usize,
    pub text: &'a str,
    pub logprobs: Option<&'a LogprobsShape>,
    pub finish_reason: Option<&'static str>,
}

/// `finish_reason`.
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}
