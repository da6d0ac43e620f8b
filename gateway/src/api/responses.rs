//! `POST /v1/responses`, without a memory: each request brings its whole conversation.

mod demand;
mod events;
mod input;
mod request;
mod shape;
mod state;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::{Api, answer, body};
use crate::error::{FieldNames, Refused};
use crate::identity::Principal;
use crate::pipeline::Arrival;
use events::Events;
use state::Answered;

const FIELDS: FieldNames = FieldNames { prompt: "input", max_tokens: "max_output_tokens" };

/// The handler.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/responses";
    let wanted = body::parse(request, &api.bounds, request::parse).await?;
    let (model, stream) = (wanted.request.model.to_string(), wanted.request.stream);
    let run = api.pipeline.start(&arrival, &principal, wanted.request).await;
    let run = run.map_err(|refused| refused.naming(FIELDS))?;
    let answered = Answered::new(&arrival, model, wanted.echo);
    if stream {
        Ok(answer::streamed(run.into(), Events::new(answered), &api.bounds))
    } else {
        answer::whole(run.into(), answered).await
    }
}
