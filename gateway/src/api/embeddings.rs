//! `POST /v1/embeddings`.

mod answer;
mod request;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::answer::rate;
use super::{Api, body};
use crate::error::{RECEIPT, Refusal, Refused};
use crate::identity::Principal;
use crate::pipeline::{Arrival, EmbeddingRun};
use request::Parsed;

/// Answers above this are written where they hold up no other request, in bytes.
const ASIDE: usize = 128 * 1024;

/// The handler.
pub async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Extension(mut arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Refused> {
    arrival.endpoint = "/v1/embeddings";
    let inputs_max = api.bounds.embedding_inputs_max;
    let parse = move |body: &Value| request::parse(body, inputs_max);
    let Parsed { request, encoding } = body::parse(request, &api.bounds, parse).await?;
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

fn headers(run: &EmbeddingRun) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RECEIPT, run.receipt().header());
    rate(run.rate(), &mut headers);
    headers
}
