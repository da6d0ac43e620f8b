//! Starting a worker's process, with as little of ours as it can do with.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;

use engine_api::{Epoch, ModelKind};
use tokio::process::{Child, Command};

use crate::{FleetLimits, FleetModel, PartitionConfig, WorkerCommand};

/// Variables that a worker inherits. All others may hold what is none of its business.
const ENVIRONMENT: [&str; 9] = [
    "CUDA_VISIBLE_DEVICES",
    "HANSE_LOG",
    "LANG",
    "LD_LIBRARY_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TMPDIR",
    "TZ",
];
/// Where traces go; the standard's own names.
const ENVIRONMENT_PREFIX: &str = "OTEL_";

/// How long a worker's allocator keeps what is free, in milliseconds: what one step has used serves the
/// next, where it would otherwise go back to the system and come again page by page.
const ALLOCATOR: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "10000");

/// What one start of a worker is told.
pub(crate) struct Launch<'a> {
    pub(crate) command: &'a WorkerCommand,
    pub(crate) model: &'a FleetModel,
    pub(crate) partition: &'a PartitionConfig,
    pub(crate) limits: &'a FleetLimits,
    pub(crate) packed_dir: Option<&'a Path>,
    pub(crate) socket: &'a Path,
    pub(crate) epoch: Epoch,
}

impl Launch<'_> {
    /// Starts the program. It ends when the child's standard input is dropped, and is killed
    /// when the child is.
    pub(crate) fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.leading);
        self.flags(&mut command);
        command.env_clear();
        let kept = |name: &str| ENVIRONMENT.contains(&name) || name.starts_with(ENVIRONMENT_PREFIX);
        command.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(kept)));
        command.env(ALLOCATOR.0, ALLOCATOR.1);
        command
            // a group of its own: an interrupt from the terminal is for us alone, and we end
            // the worker when the last answer is out
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            // logs belong together; our own standard output is for programs
            .stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?))
            .stderr(Stdio::inherit());
        command.spawn()
    }

    fn flags(&self, command: &mut Command) {
        let Self { model, partition, limits, socket, epoch, .. } = self;
        command.arg("--exit-with-stdin");
        command.arg("--socket").arg(socket);
        command.arg("--model").arg(&model.path);
        for (flag, value) in [
            ("--digest", model.digest.to_string()),
            ("--epoch", epoch.0.to_string()),
            ("--device", partition.device.clone()),
            ("--threads", partition.threads.to_string()),
            ("--step-tokens-max", limits.step_tokens_max.to_string()),
            ("--queue-max", limits.queue_max.to_string()),
            ("--partition", partition.id.to_string()),
        ] {
            // joined, so that a value that begins with a dash stays a value
            command.arg(format!("{flag}={value}"));
        }
        if model.kind == ModelKind::Embed {
            command.arg("--kind=embed");
            return;
        }
        command.arg(format!("--kv-bytes={}", partition.kv_bytes));
        command.arg(format!("--draft-tokens-max={}", limits.draft_tokens_max));
        if let Some(folder) = self.packed_dir {
            command.arg("--packed-dir").arg(folder);
        }
        if let Some(max) = model.context_max {
            command.arg(format!("--context-max={max}"));
        }
    }
}
