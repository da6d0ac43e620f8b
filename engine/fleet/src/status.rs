//! How the partitions are, for readiness checks, the console and metrics.

use engine_api::{Epoch, ModelId, PartitionId, ZoneId};

/// One partition at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct PartitionStatus {
    /// Its name.
    pub id: PartitionId,
    /// What it runs.
    pub model: ModelId,
    /// Where it is.
    pub zone: ZoneId,
    /// What its worker does.
    pub state: PartitionState,
    /// Which start of its worker; 0 before the first.
    pub epoch: Epoch,
    /// The worker's operating-system process, while there is one.
    pub pid: Option<u32>,
    /// Starts that failed or died since the partition last ran well.
    pub failures: u32,
    /// Why the worker last ended, for the operator.
    pub last_failure: Option<String>,
    /// What the worker last said of itself; zero while none runs.
    pub load: PartitionLoad,
}

/// What the worker of a partition does.
#[derive(Clone, PartialEq, Debug)]
pub enum PartitionState {
    /// The program is started and does not listen yet.
    Starting,
    /// The weights are read: bytes so far and in all.
    Loading {
        /// Bytes that have been read.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// It takes requests.
    Ready,
    /// No worker runs; it is started again after a wait.
    Down {
        /// Why the last one ended, for the operator.
        reason: String,
    },
    /// The fleet shuts down.
    Stopped,
}

/// Work and memory of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartitionLoad {
    /// Requests in the batch.
    pub running: u32,
    /// Requests in its queue.
    pub waiting: u32,
    /// Blocks in use.
    pub blocks_used: u32,
    /// Blocks in all.
    pub blocks_total: u32,
}
