//! A chat goes to a model that generates, a text that is to be embedded to one that embeds.

use engine_api::{ModelCard, ModelId, ModelKind};

use super::Pipeline;
use crate::api::fields::Invalid;
use crate::error::Refusal;
use crate::identity::Principal;

impl Pipeline {
    /// Refuses a model of the other kind, and names those that would do. What the tenant may not use
    /// is not spoken of: policy refuses it later, as if nothing were known of it.
    pub(super) fn check_kind(
        &self,
        principal: &Principal,
        model: &ModelId,
        wanted: ModelKind,
    ) -> Result<(), Refusal> {
        let tenant = self.policies.tenant(principal.tenant()).filter(|tenant| tenant.enabled);
        let Some(tenant) = tenant else {
            return Ok(());
        };
        let mut cards = self.engine.models();
        cards.retain(|card| tenant.models.contains(card.id.as_str()));
        match cards.iter().find(|card| card.id == *model) {
            Some(card) if card.kind != wanted => Err(mismatch(card, &cards, wanted).into()),
            _ => Ok(()),
        }
    }
}

fn mismatch(asked: &ModelCard, usable: &[ModelCard], wanted: ModelKind) -> Invalid {
    let names: Vec<String> = usable
        .iter()
        .filter(|card| card.kind == wanted)
        .map(|card| format!("`{}`", card.id))
        .collect();
    let (does, sought) = match wanted {
        ModelKind::Generate => ("makes embeddings and generates no text", "generates text"),
        ModelKind::Embed => ("generates text and makes no embeddings", "makes embeddings"),
    };
    let advice = match names.as_slice() {
        [] => format!("there is no model here that {sought}"),
        [one] => format!("{one} {sought}"),
        _ => format!("one of these {sought}: {}", names.join(", ")),
    };
    let message = format!("is `{}`, which {does}; {advice}", asked.id);
    Invalid { code: "model_not_supported", ..Invalid::value("model", message) }
}
