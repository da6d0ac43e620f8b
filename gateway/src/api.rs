//! The HTTP API: which routes there are, and who may call them.
//!
//! The router is closed by default. Only [`Access::Public`] routes are reached without a
//! credential; everything else, a path that does not exist included, is behind
//! authentication, so that a new route cannot be open by mistake.

mod answer;
mod authenticate;
mod body;
pub mod chat;
mod completions;
mod effort;
mod embeddings;
pub mod fields;
mod functions;
mod health;
pub mod json;
mod logprobs;
mod messages;
mod models;
mod observe;
mod parameters;
mod parts;
mod reasoning_tokens;
mod rendering;
mod responses;
mod runs;
#[cfg(test)]
mod scripted;
mod stream;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use engine_fleet::PartitionStatus;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::{Refusal, Refused};
use crate::identity::Authenticator;
use crate::listener::Drain;
use crate::pipeline::Pipeline;

/// What every handler shares.
pub struct Api {
    /// The path of a request.
    pub pipeline: Pipeline,
    /// Who calls.
    pub identity: Arc<Authenticator>,
    /// How the partitions are.
    pub partitions: Arc<dyn Fn() -> Vec<PartitionStatus> + Send + Sync>,
    /// Whether the gateway stops.
    pub drain: Drain,
    /// The bounds.
    pub bounds: ApiBounds,
}

/// The bounds of the API.
#[derive(Clone, Debug)]
pub struct ApiBounds {
    /// Length of a body.
    pub body_bytes_max: usize,
    /// Texts of one request for embeddings.
    pub embedding_inputs_max: usize,
    /// Time for a body to arrive.
    pub body_read_max: Duration,
    /// Silence in a stream before a comment keeps it open.
    pub keep_alive_every: Duration,
    /// Pieces of an answer that wait for a slow reader.
    pub frames_max: usize,
    /// How long a reader may take for one of them before its request is cancelled.
    pub reader_stall_max: Duration,
}

impl Default for ApiBounds {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            embedding_inputs_max: 2048,
            body_read_max: Duration::from_secs(30),
            keep_alive_every: Duration::from_secs(15),
            frames_max: 16,
            reader_stall_max: Duration::from_secs(60),
        }
    }
}

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Anybody who can connect.
    Public,
    /// A principal of a tenant.
    Tenant,
}

/// What answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// The process is up.
    Live,
    /// Every model can be used.
    Ready,
    /// `chat.completions.create`.
    ChatCompletions,
    /// `completions.create`.
    Completions,
    /// `responses.create`.
    Responses,
    /// Anthropic's `messages.create`.
    Messages,
    /// Anthropic's `messages.count_tokens`.
    CountTokens,
    /// vLLM's tokenizer.
    Tokenize,
    /// And back.
    Detokenize,
    /// `embeddings.create`.
    Embeddings,
    /// `models.list`.
    Models,
    /// `models.retrieve`.
    Model,
}

/// One route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The path as axum matches it.
    pub path: &'static str,
    /// What it takes.
    pub methods: &'static str,
    /// Who may.
    pub access: Access,
    /// What answers.
    pub endpoint: Endpoint,
}

const fn route(
    path: &'static str,
    methods: &'static str,
    access: Access,
    endpoint: Endpoint,
) -> Route {
    Route { path, methods, access, endpoint }
}

const READ: &str = "GET, HEAD";

/// Every route that there is.
pub const ROUTES: &[Route] = &[
    route("/healthz", READ, Access::Public, Endpoint::Live),
    // the name that load generators ask for
    route("/health", READ, Access::Public, Endpoint::Live),
    route("/readyz", READ, Access::Public, Endpoint::Ready),
    route("/v1/chat/completions", "POST", Access::Tenant, Endpoint::ChatCompletions),
    route("/v1/completions", "POST", Access::Tenant, Endpoint::Completions),
    route("/v1/responses", "POST", Access::Tenant, Endpoint::Responses),
    route("/v1/messages", "POST", Access::Tenant, Endpoint::Messages),
    route("/v1/messages/count_tokens", "POST", Access::Tenant, Endpoint::CountTokens),
    route("/tokenize", "POST", Access::Tenant, Endpoint::Tokenize),
    route("/detokenize", "POST", Access::Tenant, Endpoint::Detokenize),
    route("/v1/embeddings", "POST", Access::Tenant, Endpoint::Embeddings),
    route("/v1/models", READ, Access::Tenant, Endpoint::Models),
    // names of models may hold slashes
    route("/v1/models/{*id}", READ, Access::Tenant, Endpoint::Model),
];

/// The router of [`ROUTES`] and of nothing else.
pub fn router(api: Arc<Api>) -> Router {
    let behind_authentication = routes(Access::Tenant)
        .fallback(no_route)
        .layer(from_fn_with_state(Arc::clone(&api), authenticate::authenticate))
        .with_state(Arc::clone(&api));
    routes(Access::Public)
        .with_state(Arc::clone(&api))
        .fallback_service(behind_authentication)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(api, observe::observe))
}

fn routes(access: Access) -> Router<Arc<Api>> {
    let routes = ROUTES.iter().filter(|route| route.access == access);
    routes.fold(Router::new(), |router, route| {
        let allowed = route.methods;
        let refuse = move || async move { Refused::from(Refusal::Method { allowed }) };
        router.route(route.path, route.endpoint.handler().fallback(refuse))
    })
}

impl Endpoint {
    fn handler(self) -> MethodRouter<Arc<Api>> {
        match self {
            Self::Live => get(health::live),
            Self::Ready => get(health::ready),
            Self::ChatCompletions => post(chat::create),
            Self::Completions => post(completions::create),
            Self::Responses => post(responses::create),
            Self::Messages => post(messages::create),
            Self::CountTokens => post(messages::count),
            Self::Tokenize => post(tokens::tokenize),
            Self::Detokenize => post(tokens::detokenize),
            Self::Embeddings => post(embeddings::create),
            Self::Models => get(models::list),
            Self::Model => get(models::retrieve),
        }
    }
}

async fn no_route(State(_): State<Arc<Api>>) -> Refused {
    Refusal::NoRoute.into()
}

/// What a handler that panicked answers. Its account, if it had one, closes itself.
fn panicked(_panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    tracing::error!("a handler panicked");
    Refused::from(Refusal::Internal).into_response()
}
