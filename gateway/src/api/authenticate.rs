//! Who calls, before anything else is looked at: no body is read for a stranger.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use crate::error::{Refusal, Refused};
use crate::listener::Phase;
use crate::telemetry;

/// Puts the principal among the request's extensions, or refuses.
pub async fn authenticate(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let principal = api.identity.authenticate(request.headers()).map_err(Refusal::from)?;
    if api.drain.phase() != Phase::Serving {
        return Err(Refusal::Draining.into());
    }
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        telemetry::record_route(request.method(), route.as_str());
    }
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}
