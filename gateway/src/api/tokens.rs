//! `POST /tokenize` and `POST /detokenize`, as vLLM has them.
//!
//! Both are decided by policy as a run would be, count as one request of the tenant's rate, and
//! leave no entry in the audit log.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use engine_api::{Engine, EngineError, ModelId, PromptSource, TokenId};
use serde::Serialize;
use serde_json::Value;

use super::chat::{extensions, request as chat_request};
use super::completions::FIELDS;
use super::fields::{Fields, Invalid};
use super::{Api, answer, body, parameters};
use crate::error::{FieldNames, Refusal, Refused};
use crate::identity::Principal;
use crate::pipeline::{Arrival, ChatRequest, Reading};

/// What a client wants to have tokenized.
struct Tokenizing {
    /// Its source is the text or the chat.
    request: ChatRequest,
    /// Without the token of the beginning, where the model has one.
    bare: Option<String>,
    /// Also the text of each token.
    strings: bool,
}

#[derive(Serialize)]
struct TokenizedShape {
    count: usize,
    max_model_len: u32,
    tokens: Vec<TokenId>,
    token_strs: Option<Vec<String>>,
}

#[derive(Serialize)]
struct DetokenizedShape {
    prompt: String,
}

/// `POST /tokenize`.
pub async fn tokenize(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/tokenize";
    let wanted = body::parse(request, &api.bounds, read_tokenize).await?;
    let reading = api.pipeline.admit_reading(&arrival, &principal, &wanted.request)?;
    let model = wanted.request.model.clone();
    let tokens: Vec<TokenId> = match wanted.bare {
        Some(text) => aside(&api, move |engine| engine.tokenize(&model, &text)).await?,
        None => {
            let is_text = matches!(wanted.request.source, PromptSource::Text(_));
            let fields = if is_text { FIELDS } else { FieldNames::default() };
            let prompt = api.pipeline.read(&arrival, &reading, &wanted.request).await;
            let refused = |error| Refused::from(Refusal::from(error)).naming(fields);
            prompt.map_err(refused)?.ids.to_vec()
        }
    };
    let (model, ids) = (wanted.request.model.clone(), tokens.clone());
    let each = move |engine: &dyn Engine| {
        ids.iter().map(|id| engine.detokenize(&model, &[*id])).collect::<Result<Vec<_>, _>>()
    };
    let token_strs = if wanted.strings { Some(aside(&api, each).await?) } else { None };
    let max_model_len = context(&api, &wanted.request.model)?;
    Ok(respond(&reading, TokenizedShape { count: tokens.len(), max_model_len, tokens, token_strs }))
}

/// `POST /detokenize`.
pub async fn detokenize(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/detokenize";
    let request = body::parse(request, &api.bounds, read_detokenize).await?;
    let reading = api.pipeline.admit_reading(&arrival, &principal, &request)?;
    let PromptSource::Tokens(ids) = request.source else {
        return Err(Refusal::Internal.into());
    };
    let prompt = aside(&api, move |engine| engine.detokenize(&request.model, &ids)).await?;
    Ok(respond(&reading, DetokenizedShape { prompt }))
}

fn respond(reading: &Reading, shape: impl Serialize) -> Response {
    let mut response = Json(shape).into_response();
    answer::rate(reading.rate(), response.headers_mut());
    response
}

/// Works on a text of any length where it holds up no other request.
async fn aside<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&dyn Engine) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, Refusal> {
    let engine = Arc::clone(&api.pipeline.engine);
    let worked = tokio::task::spawn_blocking(move || work(&*engine)).await;
    worked.map_err(|_panicked| Refusal::Internal)?.map_err(|error| match error {
        // the engine's name for it is not the client's
        EngineError::Invalid { param: "input", message } => {
            EngineError::Invalid { param: "prompt", message }.into()
        }
        error => error.into(),
    })
}

fn context(api: &Api, model: &ModelId) -> Result<u32, Refusal> {
    let card = api.pipeline.engine.models().into_iter().find(|card| card.id == *model);
    card.map(|card| card.context).ok_or_else(|| EngineError::UnknownModel(model.clone()).into())
}

const TOKENIZE: &[&str] =
    &["model", "prompt", "messages", "add_special_tokens", "return_token_strs"];

fn read_tokenize(body: &Value) -> Result<Tokenizing, Invalid> {
    let fields = Fields::new(String::new(), body, TOKENIZE)?;
    let strings = fields.flag("return_token_strs")?;
    if fields.get("messages").is_some() {
        if fields.get("prompt").is_some() {
            return Err(Invalid::value("prompt", "and `messages` exclude each other"));
        }
        let (request, _) = chat_request::parse(body)?;
        return Ok(Tokenizing { request, bare: None, strings });
    }
    extensions::refuse_unsupported(&fields, &["add_special_tokens"])?;
    let Some(text) = fields.text("prompt")? else {
        return Err(Invalid {
            message: "`prompt` or `messages` is required".into(),
            ..Invalid::missing("prompt")
        });
    };
    // an empty text has no prompt, but it has its number of tokens
    let special =
        fields.get("add_special_tokens").is_none() || fields.flag("add_special_tokens")?;
    let bare = (!special || text.is_empty()).then(|| text.to_owned());
    let request = parameters::request(&fields, PromptSource::Text(text.to_owned()), None)?;
    Ok(Tokenizing { request, bare, strings })
}

fn read_detokenize(body: &Value) -> Result<ChatRequest, Invalid> {
    let fields = Fields::new(String::new(), body, &["model", "tokens"])?;
    let Some(values) = fields.array("tokens")? else {
        return Err(Invalid::missing("tokens"));
    };
    let ids = parameters::token_ids("tokens", values)?;
    parameters::request(&fields, PromptSource::Tokens(ids), None)
}

#[cfg(test)]
mod tests;
