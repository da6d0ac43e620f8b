//! `POST /v1/messages` and `POST /v1/messages/count_tokens`, as Anthropic's API has them.

mod demand;
mod events;
mod request;
mod shape;
mod state;
mod turns;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::{Api, answer, body};
use crate::error::{Refusal, Refused};
use crate::identity::Principal;
use crate::pipeline::Arrival;
use events::Events;
use state::{Answered, StopFinder};

/// `POST /v1/messages`.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/messages";
    let wanted = body::parse(request, &api.bounds, request::parse).await?;
    let (model, stream) = (wanted.model.clone(), wanted.stream);
    let engine = Arc::clone(&api.pipeline.engine);
    let stops = StopFinder::new(engine, model.clone(), &wanted.stop);
    let run = api.pipeline.start(&arrival, &principal, wanted).await?;
    let answered = Answered::new(&arrival, model.to_string(), run.prompt_tokens(), stops);
    if stream {
        Ok(answer::streamed(run.into(), Events::new(answered), &api.bounds))
    } else {
        answer::whole(run.into(), answered).await
    }
}

#[derive(Serialize)]
struct CountShape {
    input_tokens: usize,
}

/// `POST /v1/messages/count_tokens`. Like tokenizing, it is decided by policy and leaves no entry
/// in the audit log.
pub async fn count(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/messages/count_tokens";
    let wanted = body::parse(request, &api.bounds, request::parse_count).await?;
    let reading = api.pipeline.admit_reading(&arrival, &principal, &wanted)?;
    let prompt = api.pipeline.read(&arrival, &reading, &wanted).await.map_err(Refusal::from)?;
    let mut response = Json(CountShape { input_tokens: prompt.ids.len() }).into_response();
    answer::rate(reading.rate(), response.headers_mut());
    Ok(response)
}
