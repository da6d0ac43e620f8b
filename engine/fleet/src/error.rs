//! Why a fleet did not start. Workers that do not start are no error of the fleet: they are
//! tried again, and [`PartitionStatus`](crate::PartitionStatus) says so.

use std::path::PathBuf;

use engine_api::{ModelId, PartitionId};

/// What is wrong with the configuration or the files that it names.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Two models or two partitions have one name.
    #[error("`{0}` is configured twice")]
    Duplicate(String),

    /// A partition runs a model that is not configured.
    #[error("partition `{partition}` runs model `{model}`, which is not configured")]
    UnknownModel {
        /// The partition.
        partition: PartitionId,
        /// What it should run.
        model: ModelId,
    },

    /// A device that no worker has a name for.
    #[error("partition `{partition}` has device `{device}`; it must be `cpu` or `cuda:N`")]
    UnknownDevice {
        /// The partition.
        partition: PartitionId,
        /// Its device.
        device: String,
    },

    /// The model file's header, tokenizer or template cannot be used.
    #[error("cannot use model `{model}` from {}", path.display())]
    Model {
        /// The model.
        model: ModelId,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The directory of the sockets cannot be made or is not private.
    #[error("cannot use {} for sockets", path.display())]
    RunDir {
        /// The directory.
        path: PathBuf,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A credit that would stop the workers, or that they would refuse.
    #[error("`credit_events` is {credit}; it must be between {min} and {max}")]
    Credit {
        /// What was configured.
        credit: u32,
        /// Events of the largest frame.
        min: usize,
        /// What a frame can grant.
        max: u32,
    },
}
