//! From what the client said to ids.

use engine_api::{Conversation, EngineError, PrepareRequest, Prompt, PromptSource, TokenId};
use engine_chat::{Rendered, TemplateError};
use engine_text::Control;

use super::Model;
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
        let ids = self.ids(request, turns)?;
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
        })
    }

    fn ids(&self, request: &PrepareRequest, turns: &Turns) -> Result<Vec<TokenId>, EngineError> {
        match &request.source {
            PromptSource::Chat(conversation) => {
                let rendered = self.render(conversation, request.now)?;
                if rendered.text.is_empty() {
                    return Ok(Vec::new());
                }
                let control = Control::Except(&rendered.literal_at);
                Ok(self.recall(&rendered.text, control, request.namespace, turns))
            }
            PromptSource::Text(text) if text.is_empty() => Ok(Vec::new()),
            PromptSource::Text(text) => Ok(self.begun(self.encode(text, Control::Never))),
            PromptSource::Tokens(ids) => {
                self.check_ids(ids, "prompt")?;
                Ok(ids.clone())
            }
        }
    }

    /// The text that the model reads; empty where nothing was said.
    fn render(&self, chat: &Conversation, now: i64) -> Result<Rendered, EngineError> {
        let refused = |error: TemplateError| EngineError::Invalid {
            param: "messages",
            message: match error {
                // the template's author speaks to the client
                TemplateError::Raised(message) => {
                    format!("are refused by the model's chat template: {message}")
                }
                error => format!("cannot be rendered: {error}"),
            },
        };
        if chat.messages.is_empty() {
            return Ok(Rendered { text: String::new(), literal_at: Vec::new() });
        }
        let template = self.template.as_ref().ok_or_else(|| refused(TemplateError::Absent))?;
        template.render(chat, now).map_err(refused)
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
    let texts = [&message.content, &message.name, &message.tool_call_id];
    calls + texts.into_iter().map(length).sum::<usize>()
}
