//! Many workers as one engine.
//!
//! A [`Fleet`] starts one worker process for each partition, keeps them alive, places each
//! request on a ready partition of its permitted zones, and carries requests over from a
//! worker that died to another one, without losing or doubling a token.

mod config;
mod encoder;
mod errand;
mod error;
mod fleet;
mod incidents;
mod journal;
mod journey;
mod launch;
mod link;
mod model;
mod partition;
mod placement;
mod quarantine;
mod reader;
mod roster;
mod sockets;
mod status;
mod supervisor;
#[cfg(test)]
mod testing;
mod turns;

pub use config::{FleetConfig, FleetLimits, FleetModel, PartitionConfig, WorkerCommand};
pub use engine_text::{is_model_file, model_files};
pub use error::FleetError;
pub use fleet::Fleet;
pub use status::{Incidents, PartitionCounters, PartitionLoad, PartitionState, PartitionStatus};
