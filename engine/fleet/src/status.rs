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
    /// What all of its workers have done, one after the other: it never falls.
    pub done: PartitionCounters,
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
    /// Sequences in the batch.
    pub running: u32,
    /// Sequences in its queue.
    pub waiting: u32,
    /// Blocks that requests hold.
    pub blocks_used: u32,
    /// Blocks in all.
    pub blocks_total: u32,
    /// Blocks that no request holds, but whose content the prefix cache still knows.
    pub blocks_cached: u32,
    /// Blocks that the prefix cache may not give away.
    pub blocks_pinned: u32,
    /// Positions of one block.
    pub block_tokens: u32,
}

/// What the workers of a partition have done since the gateway started. What a worker did in
/// the moment before it died, and could not say any more, is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartitionCounters {
    /// How often a sequence had to give its blocks back.
    pub preemptions: u64,
    /// Prompt tokens of the requests that reached their first token.
    pub prompt_tokens: u64,
    /// Tokens that were drawn.
    pub generation_tokens: u64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens that were found there.
    pub prefix_hits: u64,
    /// Tokens that were guessed to follow, and checked.
    pub drafted: u64,
    /// Those of them that were right.
    pub accepted: u64,
}

impl PartitionCounters {
    /// With what one more start of the worker has done.
    pub(crate) fn and(self, one: engine_wire::Counters) -> Self {
        let sum = u64::saturating_add;
        Self {
            preemptions: sum(self.preemptions, one.preemptions),
            prompt_tokens: sum(self.prompt_tokens, one.prompt_tokens),
            generation_tokens: sum(self.generation_tokens, one.generation_tokens),
            prefix_queries: sum(self.prefix_queries, one.prefix_queries),
            prefix_hits: sum(self.prefix_hits, one.prefix_hits),
            drafted: sum(self.drafted, one.drafted),
            accepted: sum(self.accepted, one.accepted),
        }
    }
}

/// What went wrong with requests and was mended, or was given up, since the fleet started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Incidents {
    /// Requests that went on elsewhere after their worker was gone; one that lost two counts
    /// twice.
    pub resumed: u64,
    /// Requests that were paused because their reader was too slow, and went on later.
    pub paused: u64,
    /// Requests that were given up because workers died on them.
    pub quarantined: u64,
}
