//! When a sequence ends.

use std::collections::BTreeSet;

use crate::{OutOfRange, TokenId};

/// How many tokens a choice may have at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxTokens(u32);

impl MaxTokens {
    /// At least 1.
    pub fn new(count: u32) -> Result<Self, OutOfRange> {
        if count == 0 {
            return Err(OutOfRange { expected: "at least 1", got: "0".into() });
        }
        Ok(Self(count))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// How many answers one prompt gets (OpenAI's `n`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choices(u8);

impl Choices {
    /// A single answer.
    pub const ONE: Self = Self(1);

    /// Between 1 and 16.
    pub fn new(count: u32) -> Result<Self, OutOfRange> {
        if !(1..=16).contains(&count) {
            return Err(OutOfRange { expected: "between 1 and 16", got: count.to_string() });
        }
        Ok(Self(count as u8))
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Texts that end a choice; none of them is part of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StopStrings(Vec<String>);

impl StopStrings {
    /// The most strings that one request may have. OpenAI allows four; agent frameworks
    /// written for other servers send more.
    pub const COUNT_MAX: usize = 16;
    /// The longest string, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// At most [`Self::COUNT_MAX`] strings, none empty, none over [`Self::BYTES_MAX`] bytes.
    pub fn new(strings: Vec<String>) -> Result<Self, OutOfRange> {
        if strings.len() > Self::COUNT_MAX {
            let got = format!("{} strings", strings.len());
            return Err(OutOfRange { expected: "at most 16 strings", got });
        }
        for string in &strings {
            if string.is_empty() || string.len() > Self::BYTES_MAX {
                let got = format!("a string of {} bytes", string.len());
                return Err(OutOfRange { expected: "strings of 1 to 1024 bytes", got });
            }
        }
        Ok(Self(strings))
    }

    /// The strings.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Tokens that end a choice, as its end tokens do: their text is not part of the answer. Ids are
/// checked against the logits' width by `Engine::submit`, because only the engine knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StopTokens(BTreeSet<TokenId>);

impl StopTokens {
    /// The most ids that one request may have.
    pub const COUNT_MAX: usize = 128;

    /// At most [`Self::COUNT_MAX`] ids; one that comes twice counts once.
    pub fn new(ids: impl IntoIterator<Item = TokenId>) -> Result<Self, OutOfRange> {
        let ids: BTreeSet<TokenId> = ids.into_iter().collect();
        if ids.len() > Self::COUNT_MAX {
            let got = format!("{} ids", ids.len());
            return Err(OutOfRange { expected: "at most 128 ids", got });
        }
        Ok(Self(ids))
    }

    /// Whether the token ends a choice.
    pub fn contains(&self, id: TokenId) -> bool {
        self.0.contains(&id)
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.0.iter().copied()
    }
}

/// Every condition that ends a choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopping {
    /// Length of the answer.
    pub max_tokens: MaxTokens,
    /// Texts that end it.
    pub stop: StopStrings,
    /// Tokens that end it, also where end tokens are ignored.
    pub stop_tokens: StopTokens,
    /// End tokens are drawn like any other and end nothing: for load tests.
    pub ignore_eos: bool,
    /// No end token, stop token or stop string ends the answer before this many tokens.
    pub min_tokens: u32,
}
