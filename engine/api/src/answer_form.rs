//! What an answer has to be, and how its text is read.

use std::sync::Arc;

use serde_json::Value;

use crate::{CallFormat, Constraint, ReasoningFormat, TokenId};

/// When a call is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// Once it is whole. What turns out to be no call becomes content. Right where nothing
    /// forces the format.
    #[default]
    Whole,
    /// Its name first and its arguments as they come. A call that goes wrong is abandoned.
    /// Right under a grammar, where only the end of the output can interrupt a call.
    AsTheyCome,
}

/// How the text of an answer is read. The default is all content.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reading {
    /// How calls are written; `None` is that there are none.
    pub calls: Option<CallFormat>,
    /// How reasoning is marked.
    pub reasoning: ReasoningFormat,
    /// The prompt ended with the tag that begins the reasoning.
    pub begins_in_reasoning: bool,
    /// Definitions of the tools that may be called.
    pub tools: Arc<[Value]>,
    /// Only one call may be made; what follows it is content.
    pub is_single: bool,
    /// When calls are delivered.
    pub delivery: Delivery,
}

impl Reading {
    /// Whether every text is content.
    pub fn is_all_content(&self) -> bool {
        self.calls.is_none() && self.reasoning == ReasoningFormat::None
    }
}

/// What follows from a demand for the answer. The default is any text, read as content.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AnswerForm {
    /// What the answer has to be.
    pub constraint: Option<Constraint>,
    /// Which field of the client's demanded it; who refuses the constraint names it.
    pub demanded_by: Option<&'static str>,
    /// Control tokens whose text is written into the answer.
    pub markers: Vec<TokenId>,
    /// How its text is read.
    pub reading: Reading,
}
