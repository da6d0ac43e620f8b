//! From what the client said to ids.

use engine_api::{
    AnswerForm, Conversation, EngineError, PrepareRequest, Prompt, PromptSource, TemplateArguments,
    TokenId,
};
use engine_chat::{Rendered, TemplateError};
use engine_text::Control;

use super::Model;
use super::form::Teller;
use crate::turns::Turns;

/// A prompt of up to so many bytes takes less than a millisecond or two, and is made where
/// it is asked for; a larger one gets a thread.
const SMALL_BYTES: usize = 16 << 10;

impl Model {
    /// Whether a prompt is made so quickly that it needs no thread of its own.
    pub(crate) fn is_small(source: &PromptSource) -> bool {
        size(source) <= SMALL_BYTES
    }

    /// Renders, tokenizes and counts.
    pub(crate) fn prepare(
        &self,
        request: &PrepareRequest,
        turns: &Turns,
    ) -> Result<Prompt, EngineError> {
        let param = param(&request.source);
        self.check_size(size(&request.source), param)?;
        let (ids, answer) = self.read(request, turns)?;
        if ids.is_empty() {
            let message = "is empty; at least one token is needed".into();
            return Err(EngineError::Invalid { param, message });
        }
        let context = self.card.context;
        let prompt_tokens = ids.len() as u64;
        if prompt_tokens >= u64::from(context) {
            return Err(EngineError::PromptTooLong { prompt_tokens, context });
        }
        let left = context - ids.len() as u32;
        let max_tokens = match request.max_tokens {
            None => left,
            Some(0) => {
                let message = "must be at least 1".into();
                return Err(EngineError::Invalid { param: "max_tokens", message });
            }
            Some(asked) => asked.min(left),
        };
        Ok(Prompt {
            model: self.card.id.clone(),
            model_digest: self.card.digest,
            ids: ids.into(),
            max_tokens,
            context,
            answer,
        })
    }

    /// The ids, and the form of what follows them.
    fn read(
        &self,
        request: &PrepareRequest,
        turns: &Turns,
    ) -> Result<(Vec<TokenId>, AnswerForm), EngineError> {
        let demand = &request.demand;
        match &request.source {
            PromptSource::Chat(conversation) => {
                let told = self.told(conversation, &demand.choice);
                let rendered = self.render(&told, &demand.arguments, request.now)?;
                if rendered.text.is_empty() {
                    return Ok(Default::default());
                }
                let form = self.form_of_chat(&conversation.tools, demand, &rendered.text)?;
                let control = Control::Except(&rendered.literal_at);
                Ok((self.recall(&rendered.text, control, request.namespace, turns), form))
            }
            PromptSource::Text(text) if text.is_empty() => Ok(Default::default()),
            PromptSource::Text(text) => {
                let form = self.form_of_text(demand)?;
                Ok((self.begun(self.encode(text, Control::Never)), form))
            }
            PromptSource::Tokens(ids) => {
                self.check_ids(ids, "prompt")?;
                Ok((ids.clone(), self.form_of_text(demand)?))
            }
        }
    }

    /// The text that the model reads; empty where nothing was said.
    fn render(
        &self,
        chat: &Conversation,
        arguments: &TemplateArguments,
        now: i64,
    ) -> Result<Rendered, EngineError> {
        if chat.messages.is_empty() {
            return Ok(Rendered { text: String::new(), literal_at: Vec::new() });
        }
        let Some(template) = &self.template else { return Err(refused(TemplateError::Absent)) };
        let rendered = |chat: &Conversation| template.render_with(chat, arguments, now);
        let Some(described) = self.described(chat, Teller::System) else {
            return rendered(chat).map_err(refused);
        };
        match rendered(&described) {
            // the template may have no turn for the operator
            Err(TemplateError::Raised(_)) => {
                let described = self.described(chat, Teller::User);
                rendered(&described.expect("it was described to the other turn")).map_err(refused)
            }
            outcome => outcome.map_err(refused),
        }
    }

    /// Puts the token of the beginning first, where the model wants one and the template has
    /// not written it.
    pub(super) fn begun(&self, mut ids: Vec<TokenId>) -> Vec<TokenId> {
        if let Some(bos) = self.tokenizer.bos().map(TokenId)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }
}

fn refused(error: TemplateError) -> EngineError {
    let message = match error {
        // the template's author speaks to the client
        TemplateError::Raised(message) => {
            format!("are refused by the model's chat template: {message}")
        }
        error => format!("cannot be rendered: {error}"),
    };
    EngineError::Invalid { param: "messages", message }
}

fn param(source: &PromptSource) -> &'static str {
    match source {
        PromptSource::Chat(_) => "messages",
        PromptSource::Text(_) | PromptSource::Tokens(_) => "prompt",
    }
}

/// What is to be read, in bytes.
fn size(source: &PromptSource) -> usize {
    match source {
        PromptSource::Text(text) => text.len(),
        PromptSource::Tokens(ids) => size_of_val(ids.as_slice()),
        PromptSource::Chat(chat) => {
            let messages: usize = chat.messages.iter().map(message_size).sum();
            let tools: usize = chat.tools.iter().map(|tool| tool.to_string().len()).sum();
            messages + tools
        }
    }
}

fn message_size(message: &engine_api::Message) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let calls: usize = message
        .tool_calls
        .iter()
        .map(|call| call.id.len() + call.function.name.len() + call.function.arguments.len())
        .sum();
    let texts = [&message.content, &message.reasoning, &message.name, &message.tool_call_id];
    calls + texts.into_iter().map(length).sum::<usize>()
}
