//! `GET /v1/models`: the models that the caller's tenant may use.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use engine_api::{EngineError, ModelCard, ModelId};
use serde::Serialize;

use super::Api;
use crate::error::{Refusal, Refused};
use crate::identity::Principal;

#[derive(Serialize)]
pub struct ModelList {
    object: &'static str,
    data: Vec<ModelShape>,
}

/// OpenAI's model object. The context's length is what several other servers add to it.
#[derive(Serialize)]
pub struct ModelShape {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    max_model_len: u32,
}

/// `GET /v1/models`.
pub async fn list(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
) -> Json<ModelList> {
    Json(ModelList { object: "list", data: usable(&api, &principal).collect() })
}

/// `GET /v1/models/{id}`. One that the tenant may not use is as unknown as one that is not
/// there.
pub async fn retrieve(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<ModelShape>, Refused> {
    let found = usable(&api, &principal).find(|model| model.id == id);
    let shown: String = id.chars().take(128).collect();
    let unknown = || Refusal::from(EngineError::UnknownModel(ModelId::new(shown)));
    Ok(Json(found.ok_or_else(unknown)?))
}

fn usable(api: &Api, principal: &Principal) -> impl Iterator<Item = ModelShape> {
    let tenant = api.pipeline.policies.tenant(principal.tenant());
    let tenant = tenant.filter(|tenant| tenant.enabled).cloned();
    let configured = api.pipeline.engine.models().into_iter();
    configured
        .filter(move |card| tenant.as_ref().is_some_and(|t| t.models.contains(card.id.as_str())))
        .map(ModelShape::from)
}

impl From<ModelCard> for ModelShape {
    fn from(card: ModelCard) -> Self {
        Self {
            id: card.id.to_string(),
            object: "model",
            created: card.created,
            owned_by: "hanse",
            max_model_len: card.context,
        }
    }
}
