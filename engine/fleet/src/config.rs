//! What a fleet is made of. Whoever reads the operator's file has checked names and numbers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use engine_api::{
    CallFormat, ModelDigest, ModelId, ModelKind, PartitionId, ReasoningFormat, ZoneId,
};

/// Everything that [`Fleet::start`](crate::Fleet::start) needs.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// The models that can be asked for.
    pub models: Vec<FleetModel>,
    /// What runs them.
    pub partitions: Vec<PartitionConfig>,
    /// How a worker process is started.
    pub worker: WorkerCommand,
    /// Directory of the sockets: made with mode 0700 where it does not exist.
    pub run_dir: PathBuf,
    /// Where workers keep repacked weights for their next start; nowhere if absent.
    pub packed_dir: Option<PathBuf>,
    /// Bounds and waits.
    pub limits: FleetLimits,
}

/// A model and its file.
#[derive(Clone, Debug)]
pub struct FleetModel {
    /// Its name in the API.
    pub id: ModelId,
    /// What it does.
    pub kind: ModelKind,
    /// The weights: a GGUF file or a folder of safetensors; of a model that embeds, a folder.
    pub path: PathBuf,
    /// SHA-256 that the file must have.
    pub digest: ModelDigest,
    /// Longest sequence in tokens, where it is to be shorter than the file allows.
    pub context_max: Option<u32>,
    /// A chat template that replaces the one in the file.
    pub template: Option<String>,
    /// How the model writes calls, where its template does not show it.
    pub calls: Option<CallFormat>,
    /// How it marks reasoning, where its template does not show it.
    pub reasoning: Option<ReasoningFormat>,
    /// Unix seconds; when the weights were made or fetched.
    pub created: i64,
}

/// One share of a device, which runs one model.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// Its name in the logs.
    pub id: PartitionId,
    /// What it runs.
    pub model: ModelId,
    /// Where it is: from the operator, never from the worker.
    pub zone: ZoneId,
    /// What it runs on: `cpu`, or `cuda:N` for a GPU.
    pub device: String,
    /// Threads that compute; 0 is one for each core.
    pub threads: usize,
    /// Memory of the KV cache, in bytes; means nothing to a model that embeds.
    pub kv_bytes: u64,
}

/// How a worker process is started: the program, what comes before the worker's own flags
/// (a subcommand), and then the flags that the fleet makes.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The executable.
    pub program: PathBuf,
    /// Arguments before the flags.
    pub leading: Vec<OsString>,
}

/// Every bound of a fleet, with its unit.
#[derive(Clone, Debug)]
pub struct FleetLimits {
    /// Largest text of one request that is rendered or tokenized, in bytes.
    pub prompt_bytes_max: usize,
    /// Memory for the ids that answers were drawn as, in bytes; one cache namespace gets a quarter
    /// of it at most.
    pub turns_bytes_max: usize,
    /// Requests that one worker holds at most, running and waiting together.
    pub requests_per_worker_max: usize,
    /// Requests that wait in a worker before it says that it is busy.
    pub queue_max: usize,
    /// Tokens that a worker guesses to follow and checks in one step, at most; 0 guesses nothing.
    pub draft_tokens_max: u32,
    /// Tokens of one step, over all sequences.
    pub step_tokens_max: usize,
    /// Events of one request that wait for a slow reader. Beyond them the request is paused:
    /// its blocks are freed, and it goes on once the reader has caught up.
    pub stream_events_max: usize,
    /// Events that a worker may send ahead of what the fleet has taken; at least
    /// [`STEP_EVENTS_MAX`](engine_wire::bounds::STEP_EVENTS_MAX).
    pub credit_events: u32,
    /// How long a new request waits for a partition that is starting.
    pub ready_wait_max: Duration,
    /// How long a request that has begun waits for another worker after its own died.
    pub failover_wait_max: Duration,
    /// A worker that says nothing for so long is killed.
    pub heartbeat_max: Duration,
    /// A worker that has work but finishes no step for so long is killed; so is one that
    /// makes no progress with loading.
    pub stall_max: Duration,
    /// How long a worker may take from its start until it listens.
    pub listen_max: Duration,
    /// How long a request that killed workers is not tried again when it comes once more.
    pub quarantine: Duration,
    /// First wait before a worker is started again; doubles each time.
    pub restart_wait_min: Duration,
    /// Longest wait before a worker is started again.
    pub restart_wait_max: Duration,
}

impl Default for FleetLimits {
    fn default() -> Self {
        Self {
            prompt_bytes_max: 8 << 20,
            turns_bytes_max: 64 << 20,
            requests_per_worker_max: 1024,
            queue_max: 512,
            draft_tokens_max: 8,
            step_tokens_max: 256,
            stream_events_max: 1024,
            credit_events: 16_384,
            ready_wait_max: Duration::from_secs(2),
            failover_wait_max: Duration::from_secs(30),
            heartbeat_max: Duration::from_secs(10),
            stall_max: Duration::from_secs(120),
            listen_max: Duration::from_secs(20),
            quarantine: Duration::from_secs(60),
            restart_wait_min: Duration::from_millis(100),
            restart_wait_max: Duration::from_secs(5),
        }
    }
}
