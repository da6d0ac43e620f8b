//! `POST /v1/completions`: a text goes on. Each prompt of a request is a run of its own, with its
//! own decision, receipt and place among its tenant's requests.

mod chunks;
mod logprobs;
mod request;
mod shape;
mod whole;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use engine_api::{EngineError, ModelId, PromptSource, RequestId};
use futures_util::future::try_join_all;

use super::runs::Runs;
use super::{Api, answer, body};
use crate::error::{FieldNames, Refusal, Refused};
use crate::identity::Principal;
use crate::pipeline::{Arrival, ChatRequest};
use chunks::Chunks;
use request::Completing;
use shape::Head;
use whole::Gathered;

/// What the prompt is called here and in vLLM's tokenizer endpoint.
pub const FIELDS: FieldNames = FieldNames { prompt: "prompt", max_tokens: "max_tokens" };

/// The handler.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/completions";
    let wanted = body::parse(request, &api.bounds, request::parse).await?;
    let runs = start(&api, &arrival, &principal, &wanted).await;
    let runs = runs.map_err(|refused| refused.naming(FIELDS))?;
    let echoes = if wanted.echo { echoes(&api, &wanted).await? } else { Vec::new() };
    let head = Head {
        id: format!("cmpl-{}", arrival.id),
        created: arrival.unix_s,
        model: wanted.request.model.to_string(),
        choices: wanted.request.choices,
        echoes,
    };
    if wanted.rendering.stream {
        let prompt_tokens = runs.all().iter().map(|run| run.prompt_tokens()).sum();
        let chunks = Chunks::new(head, wanted.rendering, wanted.sources.len(), prompt_tokens);
        Ok(answer::streamed(runs, chunks, &api.bounds))
    } else {
        answer::whole(runs, Gathered::new(head, wanted.sources.len())).await
    }
}

/// The first prompt goes alone: what is refused to it would be refused to all, and is then in the
/// audit log once.
async fn start(
    api: &Api,
    arrival: &Arrival,
    principal: &Principal,
    wanted: &Completing,
) -> Result<Runs, Refused> {
    let request = |index: usize| ChatRequest {
        source: wanted.sources[index].clone(),
        ..wanted.request.clone()
    };
    let first = api.pipeline.start(arrival, principal, request(0)).await?;
    let others = (1..wanted.sources.len()).map(|index| async move {
        let id = RequestId::new(format!("{}-{index}", arrival.id));
        let arrival = Arrival { id, ..arrival.clone() };
        api.pipeline.start(&arrival, principal, request(index)).await
    });
    let others = try_join_all(others).await?;
    Ok(Runs::new(std::iter::once(first).chain(others).collect()))
}

/// The texts of the prompts.
async fn echoes(api: &Api, wanted: &Completing) -> Result<Vec<String>, Refusal> {
    let (engine, sources) = (Arc::clone(&api.pipeline.engine), wanted.sources.clone());
    let model: ModelId = wanted.request.model.clone();
    let texts = move || {
        let text = |source| match source {
            PromptSource::Text(text) => Ok(text),
            PromptSource::Tokens(ids) => engine.detokenize(&model, &ids),
            PromptSource::Chat(_) => Err(EngineError::Internal),
        };
        sources.into_iter().map(text).collect::<Result<_, _>>()
    };
    let texts = tokio::task::spawn_blocking(texts).await.map_err(|_panicked| Refusal::Internal)?;
    Ok(texts?)
}
