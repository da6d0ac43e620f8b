//! A model as far as the fleet knows it: everything but the weights.

mod form;
mod prompt;
mod recall;

use std::path::Path;

use engine_api::{EngineError, ModelCard, ModelKind, TokenId};
use engine_chat::{Detected, Template, TemplateError, detect};
use engine_text::{Control, GgufHeader, Tokenizer};

use crate::{FleetError, FleetModel};

/// Tokenizer, template and numbers of one model.
#[derive(Debug)]
pub(crate) struct Model {
    card: ModelCard,
    tokenizer: Tokenizer,
    /// `None` where neither the file nor the operator has one.
    template: Option<Template>,
    /// How the model writes calls and reasoning, and what its template tells it of them.
    formats: Detected,
    prompt_bytes_max: usize,
}

/// What a model file lacks.
#[derive(Debug, thiserror::Error)]
enum Lack {
    #[error("the file does not say how long a sequence may be (`{0}`)")]
    Context(String),
    #[error("the file has no token embedding")]
    Embedding,
}

impl Model {
    /// Reads the head of the file; the weights are the workers' business.
    pub(crate) fn load(config: &FleetModel, prompt_bytes_max: usize) -> Result<Self, FleetError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| FleetError::Model {
            model: config.id.clone(),
            path: config.path.clone(),
            source,
        };
        let header = read(&config.path).map_err(failed)?;
        let tokenizer = Tokenizer::from_gguf(&header).map_err(|error| failed(error.into()))?;
        let formats = formats(config, &header);
        let template = match Template::of_model(&header, &tokenizer, config.template.as_deref()) {
            Ok(template) => Some(template),
            Err(TemplateError::Absent) => None,
            Err(error) => return Err(failed(error.into())),
        };
        let context = context(&header).map_err(|lack| failed(lack.into()))?;
        let card = ModelCard {
            id: config.id.clone(),
            kind: ModelKind::Generate,
            digest: config.digest,
            context: config.context_max.map_or(context, |max| context.min(max)),
            vocabulary: vocabulary(&header, &tokenizer).map_err(|lack| failed(lack.into()))?,
            created: config.created,
        };
        Ok(Self { card, tokenizer, template, formats, prompt_bytes_max })
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The ids of a text, in which special tokens are text.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EngineError> {
        self.check_size(text.len(), "input")?;
        Ok(self.encode(text, Control::Never))
    }

    /// The text of ids.
    pub(crate) fn detokenize(&self, ids: &[TokenId]) -> Result<String, EngineError> {
        self.check_size(ids.len(), "tokens")?;
        self.check_ids(ids, "tokens")?;
        let ids: Vec<u32> = ids.iter().map(|id| id.0).collect();
        Ok(self.tokenizer.decode(&ids))
    }

    fn encode(&self, text: &str, control: Control) -> Vec<TokenId> {
        self.tokenizer.encode(text, control).into_iter().map(TokenId).collect()
    }

    fn check_size(&self, size: usize, param: &'static str) -> Result<(), EngineError> {
        if size > self.prompt_bytes_max {
            let max = self.prompt_bytes_max;
            let message = format!("is too large: {size} bytes, at most {max} are accepted");
            return Err(EngineError::Invalid { param, message });
        }
        Ok(())
    }

    fn check_ids(&self, ids: &[TokenId], param: &'static str) -> Result<(), EngineError> {
        let vocabulary = self.card.vocabulary;
        match ids.iter().find(|id| id.0 >= vocabulary) {
            Some(id) => {
                let message = format!(
                    "has token {}, but this model's tokens are 0 to {}",
                    id.0,
                    vocabulary - 1
                );
                Err(EngineError::Invalid { param, message })
            }
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<GgufHeader, Box<dyn std::error::Error + Send + Sync>> {
    Ok(GgufHeader::read(path)?)
}

/// What the template shows, unless the operator knows better.
fn formats(config: &FleetModel, header: &GgufHeader) -> Detected {
    let own = || header.text("tokenizer.chat_template").unwrap_or_default();
    let detected = detect(config.template.as_deref().unwrap_or_else(own));
    Detected {
        calls: config.calls.unwrap_or(detected.calls),
        reasoning: config.reasoning.unwrap_or(detected.reasoning),
        ..detected
    }
}

fn context(header: &GgufHeader) -> Result<u32, Lack> {
    let architecture = header.text("general.architecture").unwrap_or_default();
    let key = format!("{architecture}.context_length");
    match header.number(&key).map(u32::try_from) {
        Some(Ok(context)) if context > 0 => Ok(context),
        _ => Err(Lack::Context(key)),
    }
}

/// Width of the logits: rows of the head, which may be the embedding. What is read of a folder has no
/// tensors: there the tokenizer is filled up to that width, and the worker holds them against each other.
fn vocabulary(header: &GgufHeader, tokenizer: &Tokenizer) -> Result<u32, Lack> {
    if header.tensors().is_empty() {
        return Ok(tokenizer.vocabulary());
    }
    let head = header.tensor("output.weight").or_else(|| header.tensor("token_embd.weight"));
    let rows = head.and_then(|head| head.shape.get(1)).ok_or(Lack::Embedding)?;
    u32::try_from(*rows).map_err(|_| Lack::Embedding)
}

#[cfg(test)]
mod tests;
