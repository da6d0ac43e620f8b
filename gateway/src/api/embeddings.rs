//! `POST /v1/embeddings`.

mod answer;
mod request;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::{Api, body, json};
use crate::error::{RECEIPT, Refusal, Refused};
use crate::identity::Principal;
use crate::pipeline::{Arrival, EmbeddingRun};
use crate::reservation::RateLeft;
use request::Parsed;

/// Bodies and answers above this are read and written where they hold up no other request, in bytes.
const ASIDE: usize = 128 * 1024;

/// The handler.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/embeddings";
    let (head, body) = request.into_parts();
    let body = body::read(&head.headers, body, &api.bounds).await?;
    let Parsed { request, encoding } = parse(body, api.bounds.embedding_inputs_max).await?;
    let model = request.model.to_string();
    let run = api.pipeline.start_embedding(&arrival, &principal, request).await?;
    let headers = headers(&run);
    // when the client goes away, this future is dropped, and the run with it
    let (vectors, usage) = run.vectors().await?;
    let numbers: usize = vectors.iter().map(Vec::len).sum();
    let write = move || answer::json(&model, &vectors, usage, encoding);
    let json = if numbers * size_of::<f32>() < ASIDE {
        write()
    } else {
        tokio::task::spawn_blocking(write).await.map_err(|_panicked| Refusal::Internal)?
    };
    let mut response = Response::new(Body::from(json));
    response.headers_mut().extend(headers);
    Ok(response)
}

async fn parse(body: Bytes, inputs_max: usize) -> Result<Parsed, Refusal> {
    let parse = move |body: &[u8]| {
        let value = json::parse(body)?;
        Ok(request::parse(&value, inputs_max)?)
    };
    if body.len() < ASIDE {
        return parse(&body);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
    parsed.map_err(|_panicked| Refusal::Internal)?
}

fn headers(run: &EmbeddingRun) -> HeaderMap {
    let RateLeft { max, left, full_after } = run.rate();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RECEIPT, run.receipt().header());
    headers.insert("x-ratelimit-limit-requests", max.into());
    headers.insert("x-ratelimit-remaining-requests", left.into());
    let reset = format!("{}ms", full_after.as_millis());
    let reset = HeaderValue::try_from(reset).expect("digits may stand in a header");
    headers.insert("x-ratelimit-reset-requests", reset);
    headers
}
