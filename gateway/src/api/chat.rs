//! `POST /v1/chat/completions`.

mod chunks;
mod completion;
pub(super) mod extensions;
mod messages;
pub(super) mod request;
pub(super) mod response_format;
pub(super) mod shape;
mod template_arguments;
mod tools;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::answer;
use super::{Api, body};
use crate::error::Refused;
use crate::identity::Principal;
use crate::pipeline::Arrival;
use chunks::Chunks;
use completion::Gathered;
use shape::Head;

/// The handler.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/chat/completions";
    let (chat, rendering) = body::parse(request, &api.bounds, request::parse).await?;
    let (model, choices) = (chat.model.to_string(), chat.choices);
    let run = api.pipeline.start(&arrival, &principal, chat).await?;
    let head = Head {
        id: format!("chatcmpl-{}", arrival.id),
        created: arrival.unix_s,
        model,
        service_tier: rendering.service_tier,
    };
    if rendering.stream {
        let chunks = Chunks::new(head, rendering, choices, run.prompt_tokens());
        Ok(answer::streamed(run.into(), chunks, &api.bounds))
    } else {
        answer::whole(run.into(), Gathered::new(head, rendering, choices)).await
    }
}
