//! The engine that the gateway sees.

use std::sync::Arc;
use std::time::Duration;

use engine_api::{
    BoxFuture, Engine, EngineError, EventStream, ModelCard, ModelId, PrepareRequest, Prompt,
    Submission, TokenId,
};
use tokio::time::Instant;

use crate::{FleetConfig, FleetError, PartitionStatus};

/// Supervised workers behind the [`Engine`] trait. Dropping it kills them.
pub struct Fleet {
    config: FleetConfig,
}

impl Fleet {
    /// Reads headers, tokenizers and templates, and starts a worker for each partition. Must
    /// be called inside a tokio runtime. Returns before the workers are ready.
    pub fn start(config: FleetConfig) -> Result<Arc<Self>, FleetError> {
        Ok(Arc::new(Self { config }))
    }

    /// How the partitions are now, in the order of the configuration.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        Vec::new()
    }

    /// Refuses new requests, lets the running ones end until the deadline, and stops all
    /// workers. Requests that still run at the deadline end with [`EngineError::Draining`].
    pub async fn drain(&self, _deadline: Instant) {}
}

impl Engine for Fleet {
    fn models(&self) -> Vec<ModelCard> {
        Vec::new()
    }

    fn prepare(&self, request: PrepareRequest) -> BoxFuture<'_, Result<Prompt, EngineError>> {
        Box::pin(async move { Err(EngineError::UnknownModel(request.model)) })
    }

    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        let model = submission.prompt.model.clone();
        let retry_after = Duration::from_secs(1);
        Box::pin(async move { Err(EngineError::Unavailable { model, retry_after }) })
    }

    fn tokenize(&self, model: &ModelId, _text: &str) -> Result<Vec<TokenId>, EngineError> {
        Err(EngineError::UnknownModel(model.clone()))
    }

    fn detokenize(&self, model: &ModelId, _ids: &[TokenId]) -> Result<String, EngineError> {
        Err(EngineError::UnknownModel(model.clone()))
    }

    fn is_ready(&self, _model: &ModelId) -> bool {
        self.config.models.is_empty()
    }
}
