//! A whole answer.

use engine_api::{FunctionCall, OutputEvent, ToolCall};

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
