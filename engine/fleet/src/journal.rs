//! What of a request has reached its reader: enough to go on anywhere else.

use engine_api::{Event, Finished, Submission, Timings, Token, TokenId, Usage};
use engine_wire::Embedded;
use tokio::time::Instant;

/// A request and every token of it that was delivered.
pub(crate) struct Journal {
    submission: Submission,
    /// When it was submitted; its deadline counts from here.
    since: Instant,
    choices: Vec<Choice>,
    deaths: u32,
    /// Prompt tokens that the first worker found in its prefix cache.
    cached_tokens: Option<u32>,
}

#[derive(Default)]
struct Choice {
    drawn: Vec<TokenId>,
    finished: bool,
}

/// Something that a worker says of a request.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Said {
    /// It runs, and so many tokens of its prompt were in the worker's prefix cache.
    Started {
        cached_tokens: u32,
    },
    Token(Token),
    Finished(Finished),
    /// The vector of a text; never said of a request that generates.
    Embedded(Embedded),
    Usage(Usage, Timings),
}

/// What becomes of it.
#[derive(PartialEq, Debug)]
pub(crate) enum Entry {
    /// It is new: the reader gets it.
    New(Event),
    /// The reader has it from before a worker's death, or has no need of it.
    Known,
}

/// A worker says what cannot be: a gap, or another token than the one that was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the worker's answer does not fit what was delivered: {0}")]
pub(crate) struct Contradiction(&'static str);

impl Journal {
    pub(crate) fn new(submission: Submission) -> Self {
        let choices = (0..submission.choices.get()).map(|_| Choice::default()).collect();
        Self { submission, since: Instant::now(), choices, deaths: 0, cached_tokens: None }
    }

    pub(crate) fn submission(&self) -> &Submission {
        &self.submission
    }

    /// The request as a worker gets it `now`: with the time that is left until its first token.
    /// `None` where none is left. What has begun has met its deadline.
    pub(crate) fn outgoing(&self, now: Instant) -> Option<Submission> {
        let deadline = match self.submission.deadline.filter(|_| !self.has_begun()) {
            None => None,
            Some(deadline) => Some(deadline.checked_sub(now - self.since)?),
        };
        Some(Submission { deadline, ..self.submission.clone() })
    }

    /// Tokens that were delivered, over all choices.
    pub(crate) fn drawn_tokens(&self) -> usize {
        self.choices.iter().map(|choice| choice.drawn.len()).sum()
    }

    /// Tokens of each choice that need not be drawn again; empty when there are none.
    pub(crate) fn resume(&self) -> Vec<Vec<TokenId>> {
        if !self.has_begun() {
            return Vec::new();
        }
        self.choices.iter().map(|choice| choice.drawn.clone()).collect()
    }

    /// The tokens of a choice so far.
    pub(crate) fn drawn(&self, choice: u8) -> &[TokenId] {
        self.choices.get(usize::from(choice)).map_or(&[], |choice| &choice.drawn)
    }

    /// Whether anything was delivered.
    pub(crate) fn has_begun(&self) -> bool {
        self.choices.iter().any(|choice| choice.finished || !choice.drawn.is_empty())
    }

    /// Writes a worker's death down, and says how many that makes.
    pub(crate) fn count_death(&mut self) -> u32 {
        self.deaths += 1;
        self.deaths
    }

    /// Whether a worker has died on it.
    pub(crate) fn is_suspect(&self) -> bool {
        self.deaths > 0
    }

    /// Takes what a worker says, each thing once, however often it is said.
    pub(crate) fn enter(&mut self, said: Said) -> Result<Entry, Contradiction> {
        match said {
            Said::Started { cached_tokens } => self.started(cached_tokens),
            Said::Token(token) => self.token(token),
            Said::Finished(finished) => self.finished(finished),
            Said::Embedded(_) => Err(Contradiction("a vector")),
            Said::Usage(usage, timings) => self.usage(usage, timings),
        }
    }

    /// Only the first start counts: after a pause a request finds its own blocks in the cache,
    /// and after a death it may find those of others, or none.
    fn started(&mut self, cached_tokens: u32) -> Result<Entry, Contradiction> {
        if cached_tokens as usize > self.submission.prompt.ids.len() {
            return Err(Contradiction("more cached tokens than the prompt has"));
        }
        self.cached_tokens.get_or_insert(cached_tokens);
        Ok(Entry::Known)
    }

    fn choice(&mut self, index: u8) -> Result<&mut Choice, Contradiction> {
        self.choices.get_mut(usize::from(index)).ok_or(Contradiction("a choice too many"))
    }

    fn token(&mut self, token: Token) -> Result<Entry, Contradiction> {
        let choice = self.choice(token.choice)?;
        match choice.drawn.get(token.index as usize) {
            Some(drawn) if *drawn == token.id => return Ok(Entry::Known),
            Some(_) => return Err(Contradiction("another token in a place")),
            None if token.index as usize > choice.drawn.len() => {
                return Err(Contradiction("a token is missing"));
            }
            None if choice.finished => return Err(Contradiction("a token after the end")),
            None => {}
        }
        choice.drawn.push(token.id);
        Ok(Entry::New(Event::Token(token)))
    }

    fn finished(&mut self, finished: Finished) -> Result<Entry, Contradiction> {
        let choice = self.choice(finished.choice)?;
        if std::mem::replace(&mut choice.finished, true) {
            return Ok(Entry::Known);
        }
        Ok(Entry::New(Event::Finished(finished)))
    }

    fn usage(&mut self, usage: Usage, timings: Timings) -> Result<Entry, Contradiction> {
        if !self.choices.iter().all(|choice| choice.finished) {
            return Err(Contradiction("the end before the end of every choice"));
        }
        // what is settled and billed must be what was delivered
        if usage.completion_tokens as usize != self.drawn_tokens() {
            return Err(Contradiction("another number of tokens"));
        }
        let cached_tokens = self.cached_tokens.unwrap_or(usage.cached_tokens);
        Ok(Entry::New(Event::Usage(Usage { cached_tokens, ..usage }, timings)))
    }
}

#[cfg(test)]
mod tests;
