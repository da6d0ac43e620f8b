//! `POST /v1/chat/completions`.

mod chunks;
mod completion;
mod extensions;
mod messages;
mod request;
mod shape;
mod stream;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use engine_api::{Choices, Placement};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::{Api, body, json};
use crate::error::{RECEIPT, Refusal, Refused};
use crate::identity::Principal;
use crate::pipeline::{Arrival, ChatRequest, Run};
use crate::reservation::RateLeft;
use chunks::Chunks;
use completion::Gathered;
use request::Rendering;
use shape::Head;

/// Bodies above this are parsed where they hold up no other request, in bytes.
const PARSED_ASIDE: usize = 128 * 1024;

/// The handler.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/chat/completions";
    let (head, body) = request.into_parts();
    let body = body::read(&head.headers, body, &api.bounds).await?;
    let (chat, rendering) = parse(body).await?;
    let (model, choices) = (chat.model.to_string(), chat.choices);
    let run = api.pipeline.start(&arrival, &principal, chat).await?;
    let head = Head {
        id: format!("chatcmpl-{}", arrival.id),
        created: arrival.unix_s,
        model,
        service_tier: rendering.service_tier,
    };
    let headers = headers(&run);
    let mut response = if rendering.stream {
        let chunks = Chunks::new(head, rendering, choices, run.prompt_tokens());
        stream::respond(run, chunks, &api.bounds)
    } else {
        whole(run, &head, choices).await?
    };
    response.headers_mut().extend(headers);
    Ok(response)
}

async fn parse(body: Bytes) -> Result<(ChatRequest, Rendering), Refusal> {
    let parse = |body: &[u8]| {
        let value: Value = json::parse(body)?;
        Ok(request::parse(&value)?)
    };
    if body.len() < PARSED_ASIDE {
        return parse(&body);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
    parsed.map_err(|_panicked| Refusal::Internal)?
}

/// Waits for the whole answer. When the client goes away, this future is dropped, and the run
/// with it.
async fn whole(mut run: Run, head: &Head, choices: Choices) -> Result<Response, Refused> {
    let mut gathered = Gathered::new(choices);
    let receipt = run.receipt().clone();
    while let Some(event) = run.next().await {
        match event {
            Ok(event) => gathered.push(event),
            Err(error) => return Err(run.fail(error).await),
        }
    }
    run.settle().await?;
    let Some(json) = gathered.json(head) else {
        return Err(Refused { receipt: Some(receipt), ..Refusal::Internal.into() });
    };
    let mut response = Response::new(Body::from(json));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn headers(run: &Run) -> HeaderMap {
    let RateLeft { max, left, full_after } = run.rate();
    let mut headers = HeaderMap::new();
    headers.insert(RECEIPT, run.receipt().header());
    headers.insert("x-ratelimit-limit-requests", max.into());
    headers.insert("x-ratelimit-remaining-requests", left.into());
    let reset = format!("{}ms", full_after.as_millis());
    let reset = HeaderValue::try_from(reset).expect("digits may stand in a header");
    headers.insert("x-ratelimit-reset-requests", reset);
    headers
}

/// What results are equal with: clients compare it between answers.
fn fingerprint(placement: &Placement) -> String {
    let digest = placement.model_digest.to_string();
    format!("{}/{}", placement.numerics, &digest[..12])
}
