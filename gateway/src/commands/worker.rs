//! `gateway worker`: one partition, in a process of its own. The gateway starts these itself.

pub use engine_worker::WorkerArgs;

use crate::telemetry::{self, Service};

/// Runs the partition until its fleet goes away.
pub fn run(args: WorkerArgs) -> anyhow::Result<()> {
    let _telemetry = telemetry::start(Service::Worker)?;
    engine_worker::run(args)
}
