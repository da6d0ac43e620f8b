//! Whether the process is up, and whether it can be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use engine_fleet::{PartitionState, PartitionStatus};
use http::StatusCode;
use serde::Serialize;

use super::Api;
use crate::listener::Phase;

#[derive(Serialize)]
pub struct Liveness {
    status: &'static str,
}

/// `GET /healthz`: the process answers.
pub async fn live() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// What is ready and what is not. It is public, so it says no more than a load balancer
/// needs: no process ids, no paths, no reasons.
#[derive(Serialize)]
pub struct Readiness {
    status: &'static str,
    /// Whether decisions can be recorded.
    audit: &'static str,
    models: BTreeMap<String, bool>,
    partitions: Vec<PartitionReadiness>,
}

#[derive(Serialize)]
struct PartitionReadiness {
    id: String,
    model: String,
    zone: String,
    state: &'static str,
}

/// `GET /readyz`: 200 when every model has a partition that takes requests, decisions can be
/// recorded, and the gateway does not stop.
pub async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, Json<Readiness>) {
    let partitions = (api.partitions)();
    let has_one = |model: &str| {
        let of_model = partitions.iter().filter(|one| one.model.as_str() == model);
        of_model.into_iter().any(|one| one.state == PartitionState::Ready)
    };
    let models: BTreeMap<String, bool> = api
        .pipeline
        .places
        .models()
        .map(|model| (model.as_str().to_owned(), has_one(model.as_str())))
        .collect();
    let audit = api.pipeline.ledger.is_open();
    let draining = api.drain.phase() != Phase::Serving;
    let ready = !draining && audit && models.values().all(|ready| *ready);
    let status = match (ready, draining) {
        (true, _) => "ready",
        (false, true) => "draining",
        (false, false) => "not ready",
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let partitions = partitions.into_iter().map(PartitionReadiness::from).collect();
    let audit = if audit { "open" } else { "closed" };
    (code, Json(Readiness { status, audit, models, partitions }))
}

impl From<PartitionStatus> for PartitionReadiness {
    fn from(status: PartitionStatus) -> Self {
        let state = match status.state {
            PartitionState::Starting => "starting",
            PartitionState::Loading { .. } => "loading",
            PartitionState::Ready => "ready",
            PartitionState::Down { .. } => "down",
            PartitionState::Stopped => "stopped",
        };
        Self {
            id: status.id.to_string(),
            model: status.model.to_string(),
            zone: status.zone.to_string(),
            state,
        }
    }
}
