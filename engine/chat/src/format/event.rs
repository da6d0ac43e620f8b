//! What a model's output turns out to be.

use engine_api::{FunctionCall, ToolCall};

/// One event. Indices of calls count from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutputEvent {
    /// More of the answer.
    Content(String),
    /// More of the reasoning.
    Reasoning(String),
    /// A call began.
    CallStarted {
        /// Which.
        index: usize,
        /// What the caller named it.
        id: String,
        /// The tool, one of those that were offered.
        name: String,
    },
    /// More of a call's arguments. Together they are the JSON text of an object.
    Arguments {
        /// Which call.
        index: usize,
        /// The text.
        text: String,
    },
    /// The call is whole.
    CallFinished {
        /// Which.
        index: usize,
    },
    /// The call will never be whole: it was cut off, or went wrong. Only where arguments are
    /// delivered as they come.
    CallAbandoned {
        /// Which.
        index: usize,
    },
}

/// A whole answer: the events put together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reply {
    /// The answer.
    pub content: String,
    /// The reasoning.
    pub reasoning: String,
    /// The calls, by index.
    pub calls: Vec<ReplyCall>,
}

/// A call in an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplyCall {
    /// The call.
    pub call: ToolCall,
    /// Whether its arguments are whole.
    pub is_whole: bool,
}

impl Reply {
    /// Adds an event.
    pub fn add(&mut self, event: OutputEvent) {
        match event {
            OutputEvent::Content(text) => self.content.push_str(&text),
            OutputEvent::Reasoning(text) => self.reasoning.push_str(&text),
            OutputEvent::CallStarted { id, name, .. } => {
                let function = FunctionCall { name, arguments: String::new() };
                self.calls.push(ReplyCall { call: ToolCall { id, function }, is_whole: false });
            }
            OutputEvent::Arguments { index, text } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.call.function.arguments.push_str(&text);
                }
            }
            OutputEvent::CallFinished { index } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.is_whole = true;
                }
            }
            OutputEvent::CallAbandoned { .. } => {}
        }
    }
}
