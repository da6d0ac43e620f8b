//! What happens around every request: its id, its span, its line in the log.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use tracing::Instrument;
use tracing::field::display;

use super::{Access, Api, ROUTES, Route};
use crate::error::{self, RefusalNote};
use crate::pipeline::Arrival;
use crate::telemetry;

/// Gives the request an [`Arrival`] and the response its id.
pub async fn observe(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let arrival = Arrival::now(request.headers());
    let span = telemetry::request_span(request.method(), arrival.id.as_str(), arrival.trace);
    if let Some(theirs) = client_id(request.headers()) {
        span.record("hanse.client_request", theirs);
    }
    let (id, at) = (arrival.id.clone(), arrival.at);
    let path = request.uri().path();
    let endpoint = endpoint_of(path);
    let anthropic = speaks_anthropic(path, request.headers());
    let probe = ROUTES.iter().any(|one| one.access == Access::Public && one.path == path);
    request.extensions_mut().insert(arrival);
    let answered = async {
        let mut response = next.run(request).await;
        let status = response.status();
        api.pipeline.instruments.answered(endpoint, status.as_u16());
        let span = tracing::Span::current();
        span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        if anthropic {
            error::speak_anthropic(&mut response, id.as_str());
        }
        let header = HeaderValue::try_from(id.as_str()).expect("our ids are digits");
        response.headers_mut().insert("x-request-id", header);
        if let Some(note) = response.extensions_mut().remove::<RefusalNote>() {
            api.pipeline.instruments.refused(note.reason);
            note.log();
        }
        let ms = at.elapsed().as_millis() as u64;
        if probe {
            // every few seconds, for ever
            tracing::debug!(status = status.as_u16(), ms, "a probe was answered");
        } else {
            tracing::info!(status = status.as_u16(), ms, "the request was answered");
        }
        response
    };
    answered.instrument(span).await
}

/// The client's own id: only ever logged, and only if it is short and printable.
fn client_id(headers: &HeaderMap) -> Option<impl tracing::Value + '_> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    (id.len() <= 128).then(|| display(id))
}

/// The route of a path; empty where there is none.
fn endpoint_of(path: &str) -> &'static str {
    let is_of = |route: &&Route| match route.path.strip_suffix("{*id}") {
        Some(root) => path.strip_prefix(root).is_some_and(|id| !id.is_empty()),
        None => route.path == path,
    };
    ROUTES.iter().find(is_of).map_or("", |route| route.path)
}

/// Whether a client reads refusals in Anthropic's shape: on the routes that only Anthropic's API
/// has, and on those that both have if it says which version of that API it speaks.
fn speaks_anthropic(path: &str, headers: &HeaderMap) -> bool {
    let below = |root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let named = headers.contains_key("anthropic-version");
    below("/v1/messages") || (named && below("/v1/models"))
}
