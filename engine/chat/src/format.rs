//! How models write tool calls and reasoning.
//!
//! A model answers with text. [`OutputParser`] reads that text as it comes, in pieces of any
//! size, and says what is content, what is reasoning and what is a tool call. It works letter
//! by letter, so the pieces never matter, and streamed answers are the same as whole ones.
//! What is no call in the model's own format stays content: nothing here can fail.

mod bare_arguments;
mod call_list;
mod call_object;
mod deepseek;
mod description;
mod detection;
mod gemma;
mod harmony;
mod hermes;
mod json_scan;
mod llama;
mod marker_search;
mod mistral;
mod own_json;
mod parser;
mod python_call;
mod python_value;
mod pythonic;
mod qwen;
mod reply;
mod sink;
mod tagged;
mod tools;

use std::fmt;
use std::str::FromStr;

pub use description::describe_tools;
pub use detection::{Detected, begins_in_reasoning, detect};
pub use parser::{Delivery, OutputParser, ParserLimits, ParserOptions};
pub use reply::{Reply, ReplyCall};
pub use tools::Tools;
pub(crate) use tools::{DEPTH_MAX as KINDS_DEPTH_MAX, Kinds};

/// How a model writes tool calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallFormat {
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes 2 and 3, Qwen 2.5.
    Hermes,
    /// As Hermes, or `<tool_call><function=f><parameter=p>...`: Qwen 3 and its coders.
    Qwen,
    /// `{"name": ..., "parameters": {...}}`, also after `<|python_tag|>`: Llama 3.1 to 3.3.
    Llama3Json,
    /// `[TOOL_CALLS][{"name": ..., "arguments": ...}]` or `[TOOL_CALLS]name[ARGS]{...}`.
    Mistral,
    /// `[f(a=1), g(b='x')]`: Llama 3.2 and 4, and models trained on BFCL.
    Pythonic,
    /// Python calls in a `tool_code` block, or JSON: Gemma 2 and 3.
    Gemma,
    /// Calls between control tokens: DeepSeek V3, V3.1 and R1.
    DeepSeek,
    /// gpt-oss's channels. It has reasoning, too.
    Harmony,
    /// `{"tool_calls": [{"name": ..., "arguments": {...}}]}`, which a grammar forces on models
    /// that were not trained to call tools.
    OwnJson,
}

/// How a model marks its reasoning. [`CallFormat::Harmony`] has its own way and ignores this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ReasoningFormat {
    /// It does not.
    #[default]
    None,
    /// `<think>...</think>`.
    Think,
    /// `[THINK]...[/THINK]`: Magistral.
    Mistral,
}

/// A name that is no format's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{name}` is no {what}; use one of {known}")]
pub struct UnknownFormat {
    name: String,
    what: &'static str,
    known: String,
}

impl CallFormat {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Hermes,
        Self::Qwen,
        Self::Llama3Json,
        Self::Mistral,
        Self::Pythonic,
        Self::Gemma,
        Self::DeepSeek,
        Self::Harmony,
        Self::OwnJson,
    ];

    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::Qwen => "qwen",
            Self::Llama3Json => "llama3_json",
            Self::Mistral => "mistral",
            Self::Pythonic => "pythonic",
            Self::Gemma => "gemma",
            Self::DeepSeek => "deepseek",
            Self::Harmony => "harmony",
            Self::OwnJson => "json",
        }
    }

    /// Texts that the parser looks for. Where one is a control token of the model, which a
    /// detokenizer leaves out, it has to be written.
    pub fn control_texts(self) -> Vec<&'static str> {
        match self {
            Self::Harmony => harmony::MARKERS.to_vec(),
            _ => tagged::Syntax::of(self).markers().filter(|text| text.len() > 3).collect(),
        }
    }
}

impl ReasoningFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Think, Self::Mistral];

    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Think => "think",
            Self::Mistral => "mistral",
        }
    }

    /// As [`CallFormat::control_texts`].
    pub fn control_texts(self) -> Vec<&'static str> {
        self.tags().map_or_else(Vec::new, |(begin, end)| vec![begin, end])
    }

    /// What begins and ends it.
    pub(crate) const fn tags(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None => None,
            Self::Think => Some(("<think>", "</think>")),
            Self::Mistral => Some(("[THINK]", "[/THINK]")),
        }
    }
}

fn find<T: Copy>(
    name: &str,
    what: &'static str,
    all: &[T],
    name_of: fn(T) -> &'static str,
) -> Result<T, UnknownFormat> {
    let found = all.iter().copied().find(|one| name_of(*one) == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
        UnknownFormat { name: name.to_owned(), what, known: known.join(", ") }
    })
}

impl FromStr for CallFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        find(name, "tool-call format", &Self::ALL, Self::name)
    }
}

impl FromStr for ReasoningFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        find(name, "reasoning format", &Self::ALL, Self::name)
    }
}

impl fmt::Display for CallFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for ReasoningFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
