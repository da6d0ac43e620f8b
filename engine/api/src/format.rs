//! How a model writes tool calls and reasoning.

use std::fmt;
use std::str::FromStr;

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
