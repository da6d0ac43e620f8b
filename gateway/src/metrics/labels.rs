//! The labels of series.

use engine_api::{ModelId, Placement};
use engine_fleet::PartitionStatus;
use prometheus_client::encoding::EncodeLabelSet;

/// What runs where, by the names in models.toml. What is not known is empty, which Prometheus
/// reads as a label that is not there.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, EncodeLabelSet)]
pub struct Place {
    pub model_name: String,
    pub zone: String,
    pub partition: String,
}

impl Place {
    pub fn of(status: &PartitionStatus) -> Self {
        Self {
            model_name: status.model.to_string(),
            zone: status.zone.to_string(),
            partition: status.id.to_string(),
        }
    }

    pub fn placed(model: &ModelId, placement: &Placement) -> Self {
        Self {
            model_name: model.to_string(),
            zone: placement.zone.to_string(),
            partition: placement.partition.to_string(),
        }
    }

    pub fn nowhere(model: &ModelId) -> Self {
        Self { model_name: model.to_string(), ..Self::default() }
    }
}

/// How an answer ended, with vLLM's words.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct EndLabels {
    #[prometheus(flatten)]
    pub place: Place,
    pub finished_reason: &'static str,
}

/// The shape of a partition's cache, with vLLM's words.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct CacheLabels {
    #[prometheus(flatten)]
    pub place: Place,
    pub block_size: u32,
    pub num_gpu_blocks: u32,
}

/// A part of a partition's blocks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct BlockLabels {
    #[prometheus(flatten)]
    pub place: Place,
    pub state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct StateLabel {
    pub state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

/// Which route answered, and how.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct EndpointLabels {
    pub endpoint: &'static str,
    pub status: u16,
}
