//! From what a client demands of an answer to what the answer has to be and how it is read.

use std::borrow::Cow;

use engine_api::{
    AnswerForm, CallFormat, Constraint, Conversation, Demand, EngineError, Message, Reading,
    ReasoningFormat, ResponseFormat, Role, TokenId, ToolChoice,
};
use engine_chat::{
    Assignment, GrammarError, begins_in_reasoning, control_texts, describe_tools, plan, told_calls,
    write_calls,
};
use engine_text::Control;
use serde_json::Value;

use super::Model;

/// In which turn a model is told what its template does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Teller {
    /// The first, which is the operator's.
    System,
    /// The first of the user, for templates that refuse the operator's.
    User,
}

impl Model {
    /// The conversation as the template can render it: calls and results as text where it knows
    /// nothing of them, and without tools where none may be called.
    pub(super) fn told<'c>(
        &self,
        chat: &'c Conversation,
        choice: &ToolChoice,
    ) -> Cow<'c, Conversation> {
        let mut chat = Cow::Borrowed(chat);
        if *choice == ToolChoice::None && !chat.tools.is_empty() {
            chat.to_mut().tools.clear();
        }
        let has_calls =
            |message: &Message| message.role == Role::Tool || !message.tool_calls.is_empty();
        if !self.formats.renders_calls && chat.messages.iter().any(has_calls) {
            let has = |text: &str| self.control_id(text).is_some();
            let wrote = |calls: &[_]| write_calls(self.formats.calls, calls, &has);
            chat = Cow::Owned(told_calls(&chat, &wrote));
        }
        chat
    }

    /// The conversation with its tools described in a turn; `None` where nobody has to.
    pub(super) fn described(&self, chat: &Conversation, teller: Teller) -> Option<Conversation> {
        if self.formats.renders_tools || chat.tools.is_empty() {
            return None;
        }
        let text = describe_tools(self.formats.calls, &chat.tools);
        let mut messages = chat.messages.clone();
        let is_told = |message: &&mut Message| match teller {
            Teller::System => matches!(message.role, Role::System | Role::Developer),
            Teller::User => message.role == Role::User,
        };
        // only the first turn is the operator's everywhere
        let turn = match teller {
            Teller::System => messages.first_mut().filter(is_told),
            Teller::User => messages.iter_mut().find(is_told),
        };
        match (turn, teller) {
            (Some(turn), Teller::System) => {
                let before = turn.content.take().unwrap_or_default();
                let gap = if before.is_empty() { "" } else { "\n\n" };
                turn.content = Some(before + gap + &text);
            }
            (Some(turn), Teller::User) => {
                turn.content = Some(text + "\n\n" + turn.content.as_deref().unwrap_or_default());
            }
            (None, _) => messages.insert(0, told_by_operator(text)),
        }
        Some(Conversation { messages, tools: Vec::new() })
    }

    /// The form of the answer to a chat whose prompt reads so.
    pub(super) fn form_of_chat(
        &self,
        tools: &[Value],
        demand: &Demand,
        prompt: &str,
    ) -> Result<AnswerForm, EngineError> {
        let reasoning = self.formats.reasoning;
        let begins_in_reasoning = begins_in_reasoning(prompt, reasoning);
        self.form(tools, demand, self.formats.calls, reasoning, begins_in_reasoning)
    }

    /// The form of what continues a text.
    pub(super) fn form_of_text(&self, demand: &Demand) -> Result<AnswerForm, EngineError> {
        if demand.response == ResponseFormat::Text {
            return Ok(AnswerForm::default());
        }
        self.form(&[], demand, CallFormat::OwnJson, ReasoningFormat::None, false)
    }

    fn form(
        &self,
        tools: &[Value],
        demand: &Demand,
        calls: CallFormat,
        reasoning: ReasoningFormat,
        begins_in_reasoning: bool,
    ) -> Result<AnswerForm, EngineError> {
        let control_id = |text: &str| self.control_id(text).map(|id| id.0);
        let assignment = Assignment {
            tools,
            demand,
            calls,
            reasoning,
            begins_in_reasoning,
            control_id: &control_id,
        };
        let plan = plan(&assignment).map_err(|error| refused(&error))?;
        let demanded_by = match plan.offered.as_slice() {
            [] => "response_format",
            _ => "tools",
        };
        let constraint = plan.grammar.map(Constraint::new).transpose().map_err(|range| {
            let message = format!("make a grammar that is too long: it {range}; send less of them");
            EngineError::Invalid { param: demanded_by, message }
        })?;
        let texts = control_texts(plan.calls, reasoning);
        let mut markers: Vec<_> = texts.iter().filter_map(|text| self.control_id(text)).collect();
        markers.sort_unstable();
        markers.dedup();
        let tools = plan.offered.iter().map(|index| tools[*index].clone()).collect();
        let reading = Reading {
            calls: plan.calls,
            reasoning,
            begins_in_reasoning,
            tools,
            is_single: !demand.is_parallel || matches!(demand.choice, ToolChoice::Named(_)),
            delivery: plan.delivery,
        };
        Ok(AnswerForm { constraint, demanded_by: Some(demanded_by), markers, reading })
    }

    /// The control token of this text.
    fn control_id(&self, text: &str) -> Option<TokenId> {
        match self.tokenizer.encode(text, Control::Except(&[]))[..] {
            [id] if self.tokenizer.is_control(id) => Some(TokenId(id)),
            _ => None,
        }
    }
}

fn told_by_operator(text: String) -> Message {
    Message {
        role: Role::System,
        content: Some(text),
        reasoning: None,
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
    }
}

fn refused(error: &GrammarError) -> EngineError {
    EngineError::Invalid { param: error.param(), message: format!("cannot be used: {error}") }
}

#[cfg(test)]
mod tests;
