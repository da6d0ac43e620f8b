//! `GET /v1/models`: the models that the caller's tenant may use.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use engine_api::{EngineError, ModelCard, ModelId};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Api;
use crate::error::{Refusal, Refused};
use crate::identity::Principal;

/// OpenAI's list, and Anthropic's page, which is always the only one.
#[derive(Serialize)]
pub struct ModelList {
    object: &'static str,
    data: Vec<ModelShape>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// OpenAI's model object with the fields of Anthropic's. The context's length is what several
/// other servers add to it.
#[derive(Serialize)]
pub struct ModelShape {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    max_model_len: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    display_name: String,
    created_at: String,
}

/// `GET /v1/models`.
pub async fn list(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
) -> Json<ModelList> {
    let data: Vec<ModelShape> = usable(&api, &principal).collect();
    let id = |model: Option<&ModelShape>| model.map(|model| model.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Json(ModelList { object: "list", data, has_more: false, first_id, last_id })
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
            kind: "model",
            display_name: card.id.to_string(),
            created_at: rfc3339(card.created),
        }
    }
}

/// Unix seconds as Anthropic's API shows them. What no calendar has is its first second.
fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}
