//! The flags of a worker, made by the fleet or by an operator.

use std::num::NonZeroU32;
use std::path::PathBuf;

use engine_api::ModelDigest;
use engine_kernels::{DeviceName, KvKind};

use crate::{CoreConfig, PackedDir};

/// How a worker runs one model on one partition.
#[derive(clap::Args, Clone, Debug)]
pub struct WorkerArgs {
    /// Unix socket to listen on; its directory is made with mode 0700
    #[arg(long)]
    pub socket: PathBuf,
    /// The weights: a GGUF file, or a folder of safetensors
    #[arg(long)]
    pub model: PathBuf,
    /// What the worker does with texts
    #[arg(long, value_enum, default_value_t = WorkerKind::Generate)]
    pub kind: WorkerKind,
    /// SHA-256 that the weights must have, as 64 hexadecimal digits
    #[arg(long, value_parser = digest)]
    pub digest: ModelDigest,
    /// Which start of this partition's worker; later starts have larger numbers
    #[arg(long, default_value_t = 1)]
    pub epoch: u64,
    /// What computes: cpu, or cuda:0 for the first GPU that the process sees
    #[arg(long, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Memory of the KV cache, in bytes
    #[arg(long, default_value_t = 256 << 20)]
    pub kv_bytes: u64,
    /// Type of keys and values: q8 on a CPU and f16 on a GPU unless something else is asked for;
    /// f32 takes twice the memory of f16 and is for finding faults
    #[arg(long, value_enum)]
    pub kv_type: Option<KvType>,
    /// Longest sequence in tokens, where it shall be shorter than what the model was made for
    #[arg(long)]
    pub context_max: Option<NonZeroU32>,
    /// Threads that compute; 0 is one for each core
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Tokens of one step, over all sequences
    #[arg(long, default_value_t = 256)]
    pub step_tokens_max: usize,
    /// Requests that wait at most; more are refused
    #[arg(long, default_value_t = 512)]
    pub queue_max: usize,
    /// Tokens that are guessed to follow and checked in one step, at most; 0 guesses nothing.
    /// Results are the same.
    #[arg(long, default_value_t = CoreConfig::DRAFT_TOKENS_MAX)]
    pub draft_tokens_max: u32,
    /// Folder where repacked weights are kept for the next start; without it every start packs
    /// them. Made with mode 0700
    #[arg(long, value_name = "FOLDER")]
    pub packed_dir: Option<PathBuf>,
    /// What that folder may hold, in bytes; what was not used for the longest time makes room
    #[arg(long, default_value_t = PackedDir::BYTES_MAX)]
    pub packed_bytes_max: u64,
    /// Name of the partition in the logs
    #[arg(long, default_value = "local")]
    pub partition: String,
    /// After a signal to stop, running requests have so long to end, in seconds
    #[arg(long, default_value_t = 25)]
    pub drain_seconds: u64,
    /// End when standard input ends: a parent holds its other end open while it lives
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// Die when a prompt has this token: the tests' poison, absent from release builds
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub fault_token: Option<u32>,
}

/// What a worker does.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkerKind {
    /// Goes on with texts.
    Generate,
    /// Makes vectors of them: the model is a folder of a sentence-embedding model. The flags of the KV
    /// cache, of guesses and of packed weights mean nothing to it.
    Embed,
}

/// The types that keys and values are kept in.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvType {
    /// Keys of 8 bits, values of 16-bit floats; on a CPU.
    Q8,
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

impl From<KvType> for KvKind {
    fn from(kind: KvType) -> Self {
        match kind {
            KvType::Q8 => Self::Q8,
            KvType::F16 => Self::F16,
            KvType::F32 => Self::F32,
        }
    }
}

fn digest(text: &str) -> Result<ModelDigest, String> {
    ModelDigest::from_hex(text).ok_or_else(|| "must be 64 hexadecimal digits".into())
}
