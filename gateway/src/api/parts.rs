//! The parts of one answer, one after the other: reasoning, text, calls. Endpoints whose answers
//! are lists of such things write them out of this.

use engine_api::{FinishReason, OutputEvent, TokenLogprob};

/// What a part is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text of the answer.
    Text,
    /// What the model thought.
    Reasoning,
    /// A call of a tool.
    Call {
        /// What its result is told by.
        id: String,
        /// The tool.
        name: String,
    },
}

/// How far a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// More may follow.
    Open,
    /// It is whole.
    Whole,
    /// It will never be whole.
    Cut,
}

/// One part.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// The text, or the arguments' JSON, so far.
    pub text: String,
    /// Of a text's tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// How far it is.
    pub state: State,
}

/// What an event changed. Indices are those of [`Parts::all`]; one part is open at a time.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A part began, and has no text yet.
    Opened(usize),
    /// A part got longer.
    Grew {
        /// Which.
        index: usize,
        /// By this text.
        text: String,
        /// With the probabilities of these tokens.
        logprobs: Vec<TokenLogprob>,
    },
    /// Nothing more comes of a part.
    Closed(usize),
}

/// The parts of one choice.
#[derive(Default)]
pub struct Parts {
    parts: Vec<Part>,
    /// The engine's index of the call that is open.
    call: Option<usize>,
    /// Tokens of which no text is known yet.
    waiting: Vec<TokenLogprob>,
    waiting_tokens: u32,
    reasoning_tokens: u32,
}

impl Parts {
    /// All so far.
    pub fn all(&self) -> &[Part] {
        &self.parts
    }

    /// How many tokens were reasoning, with their markers.
    pub fn reasoning_tokens(&self) -> u32 {
        self.reasoning_tokens
    }

    /// Whether a whole call is among them.
    pub fn has_call(&self) -> bool {
        let is_call = |part: &Part| matches!(part.kind, Kind::Call { .. });
        self.parts.iter().any(|part| part.state == State::Whole && is_call(part))
    }

    /// A token was drawn; what it says comes with the next output.
    pub fn token(&mut self, logprob: Option<TokenLogprob>) {
        self.waiting.extend(logprob);
        self.waiting_tokens += 1;
    }

    /// Takes what a token said.
    pub fn push(&mut self, output: OutputEvent) -> Vec<Change> {
        let mut changes = Vec::new();
        let tokens = std::mem::take(&mut self.waiting_tokens);
        match output {
            OutputEvent::Content(text) => self.say(Kind::Text, text, &mut changes),
            OutputEvent::Reasoning(text) => {
                self.reasoning_tokens += tokens;
                self.say(Kind::Reasoning, text, &mut changes);
            }
            OutputEvent::CallStarted { index, id, name } => {
                self.end_open(State::Whole, &mut changes);
                self.open(Kind::Call { id, name }, &mut changes);
                self.call = Some(index);
            }
            OutputEvent::Arguments { index, text } if self.call == Some(index) => {
                self.grow(text, &mut changes);
            }
            OutputEvent::CallFinished { index } if self.call == Some(index) => {
                self.close(State::Whole, &mut changes);
            }
            OutputEvent::CallAbandoned { index } if self.call == Some(index) => {
                self.close(State::Cut, &mut changes);
            }
            _ => tracing::error!("the engine sent more of a call that is not open"),
        }
        changes
    }

    /// The choice has ended.
    pub fn finish(&mut self, reason: FinishReason) -> Vec<Change> {
        let mut changes = Vec::new();
        let last = self.parts.last_mut().filter(|part| part.state == State::Open);
        if let Some(last) = last {
            // tokens without a text of their own: the end of the answer
            let waiting = std::mem::take(&mut self.waiting);
            if last.kind == Kind::Text && !waiting.is_empty() {
                last.logprobs.extend(waiting.iter().cloned());
                let index = self.parts.len() - 1;
                changes.push(Change::Grew { index, text: String::new(), logprobs: waiting });
            }
        }
        let state = if reason == FinishReason::Stop { State::Whole } else { State::Cut };
        self.end_open(state, &mut changes);
        changes
    }

    /// An answer of nothing is an empty text, for clients that look for one.
    pub fn say_nothing(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.parts.is_empty() {
            self.open(Kind::Text, &mut changes);
        }
        changes
    }

    fn say(&mut self, kind: Kind, text: String, changes: &mut Vec<Change>) {
        let goes_on =
            |part: &Part| part.state == State::Open && part.kind == kind && self.call.is_none();
        if !self.parts.last().is_some_and(goes_on) {
            self.end_open(State::Whole, changes);
            self.open(kind, changes);
        }
        self.grow(text, changes);
    }

    fn open(&mut self, kind: Kind, changes: &mut Vec<Change>) {
        let (text, logprobs, state) = (String::new(), Vec::new(), State::Open);
        self.parts.push(Part { kind, text, logprobs, state });
        changes.push(Change::Opened(self.parts.len() - 1));
    }

    fn grow(&mut self, text: String, changes: &mut Vec<Change>) {
        let index = self.parts.len() - 1;
        let part = &mut self.parts[index];
        let waiting = std::mem::take(&mut self.waiting);
        // only a text's tokens are told of
        let logprobs = if part.kind == Kind::Text { waiting } else { Vec::new() };
        part.text.push_str(&text);
        part.logprobs.extend(logprobs.iter().cloned());
        changes.push(Change::Grew { index, text, logprobs });
    }

    /// Closes the part that something else follows. A call is whole only where its engine says so.
    fn end_open(&mut self, state: State, changes: &mut Vec<Change>) {
        let state = if self.call.is_some() { State::Cut } else { state };
        self.close(state, changes);
    }

    /// Closes the last part, if it is open.
    fn close(&mut self, state: State, changes: &mut Vec<Change>) {
        let index = self.parts.len().wrapping_sub(1);
        let Some(part) = self.parts.last_mut().filter(|part| part.state == State::Open) else {
            return;
        };
        part.state = state;
        self.call = None;
        changes.push(Change::Closed(index));
    }
}

#[cfg(test)]
mod tests;
