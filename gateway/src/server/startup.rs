//! The start of the engine: how far it is, and when it has failed.

use std::collections::BTreeMap;
use std::time::Duration;

use engine_api::PartitionId;
use engine_fleet::{Fleet, PartitionState};

use super::ServeError;
use crate::listener::{Drain, Phase};
use crate::progress::Progress;

/// How often a start looks how far the partitions are.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A partition that has failed so often before it was ever ready is not going to be: what is
/// wrong is most likely in the configuration. Once it was ready, it is started again for ever.
const FAILURES_MAX: u32 = 3;

/// Shows how far the weights are read, until every partition has been ready or the gateway
/// stops. Fails with the first partition that cannot start.
pub(super) async fn completed(fleet: &Fleet, drain: &Drain) -> Result<bool, ServeError> {
    let mut waiting: BTreeMap<PartitionId, Option<Progress>> =
        fleet.partitions().into_iter().map(|status| (status.id, None)).collect();
    while !waiting.is_empty() {
        for status in fleet.partitions() {
            let Some(shown) = waiting.get_mut(&status.id) else { continue };
            match status.state {
                PartitionState::Ready => {
                    waiting.remove(&status.id);
                }
                PartitionState::Loading { done, total } if total > 0 => {
                    let label = format!("loading {} on {}", status.model, status.id);
                    shown.get_or_insert_with(|| Progress::new(&label, Some(total))).reached(done);
                }
                PartitionState::Down { reason } if status.failures >= FAILURES_MAX => {
                    return Err(ServeError::Partition { id: status.id, reason });
                }
                _ => *shown = None,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = drain.reached(Phase::Draining) => return Ok(false),
        }
    }
    Ok(true)
}
