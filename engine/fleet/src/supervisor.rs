//! Keeps one worker alive.

mod conversation;

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use engine_api::Epoch;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::launch::Launch;
use crate::partition::Partition;
use crate::{FleetLimits, FleetModel, PartitionState, WorkerCommand};
use conversation::Conversation;

/// A worker that ran so long has not failed at its start: the next wait is short again.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// What a dead worker has still sent is read for so long.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);
/// A worker that is told to end is killed after this.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Everything that the starts of one worker have in common.
pub(crate) struct Supervisor {
    pub(crate) partition: Arc<Partition>,
    pub(crate) model: FleetModel,
    pub(crate) command: WorkerCommand,
    pub(crate) limits: FleetLimits,
    /// Where the worker keeps repacked weights.
    pub(crate) packed_dir: Option<PathBuf>,
    /// Directory of the socket, and the partition's number in its name.
    pub(crate) sockets: PathBuf,
    pub(crate) number: usize,
    /// True when no worker is to run any more.
    pub(crate) stop: watch::Receiver<bool>,
}

/// How a worker's life ended.
enum End {
    Stopped,
    Failed(String),
}

impl Supervisor {
    /// Starts the worker again and again until it is to stop.
    pub(crate) async fn run(mut self) {
        let mut wait = self.limits.restart_wait_min;
        loop {
            let began = Instant::now();
            let epoch = self.partition.starting();
            match self.live(epoch).await {
                End::Stopped => break,
                End::Failed(reason) => {
                    warn!(partition = %self.partition.config().id, epoch = epoch.0, reason, "worker ended");
                    if began.elapsed() >= STEADY_AFTER {
                        self.partition.is_steady();
                        wait = self.limits.restart_wait_min;
                    }
                    self.partition.ended(PartitionState::Down { reason });
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopped(&mut self.stop) => break,
            }
            wait = (wait * 2).min(self.limits.restart_wait_max);
        }
    }

    /// One start, from spawning to burying.
    async fn live(&mut self, epoch: Epoch) -> End {
        let socket = self.sockets.join(format!("{}-{}.sock", self.number, epoch.0));
        let launch = Launch {
            command: &self.command,
            model: &self.model,
            partition: self.partition.config(),
            limits: &self.limits,
            packed_dir: self.packed_dir.as_deref(),
            socket: &socket,
            epoch,
        };
        let mut child = match launch.spawn() {
            Ok(child) => child,
            Err(error) => return End::Failed(format!("cannot start the worker: {error}")),
        };
        self.partition.spawned(child.id());
        info!(partition = %self.partition.config().id, epoch = epoch.0, pid = child.id(), "worker started");
        let conversation = Conversation {
            partition: &self.partition,
            model: &self.model,
            limits: &self.limits,
            socket: &socket,
            epoch,
        };
        // kept out of the child, whose `wait` would close it and so end the worker at once
        let stdin = child.stdin.take();
        let end = attend(conversation, &mut child, &mut self.stop).await;
        drop(stdin);
        bury(child, matches!(end, End::Stopped)).await;
        // the worker removes it when it ends well
        let _ = std::fs::remove_file(&socket);
        end
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // nobody looks after the worker any more, however that came: no request may wait for it
        self.partition.ended(PartitionState::Stopped);
    }
}

/// Talks until the talk, the process or the fleet ends.
async fn attend(
    conversation: Conversation<'_>,
    child: &mut Child,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let mut talk = std::pin::pin!(conversation.run());
    tokio::select! {
        reason = &mut talk => {
            // a broken connection is most often a dead process, which says more
            match timeout(LAST_WORDS_MAX, child.wait()).await {
                Ok(Ok(status)) => End::Failed(described(&reason, status)),
                _ => End::Failed(reason),
            }
        }
        status = child.wait() => {
            let reason = timeout(LAST_WORDS_MAX, talk).await;
            let reason = reason.unwrap_or_else(|_| "the worker said nothing more".into());
            match status {
                Ok(status) => End::Failed(described(&reason, status)),
                Err(error) => End::Failed(format!("{reason}; cannot wait for it: {error}")),
            }
        }
        () = stopped(stop) => End::Stopped,
    }
}

fn described(reason: &str, status: ExitStatus) -> String {
    format!("{reason} ({status})")
}

/// Ends the process and waits until it is gone.
async fn bury(mut child: Child, in_peace: bool) {
    if in_peace && timeout(FAREWELL_MAX, child.wait()).await.is_ok() {
        return;
    }
    if let Err(error) = child.kill().await {
        // one that has ended already was waited for, and is no error here
        warn!(%error, "cannot kill the worker");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // the sender is gone when the fleet is
    let _ = stop.wait_for(|stop| *stop).await;
}
