//! What a supervisor and its worker say to each other, from the first word to the last.

use std::io;
use std::path::Path;
use std::time::Duration;

use engine_api::{Epoch, Placement};
use engine_wire::{Heartbeat, Up, Welcome, WireError, WorkerLink};
use tokio::time::{Instant, sleep, timeout};

use crate::link::{Link, LinkConfig};
use crate::partition::Partition;
use crate::{FleetLimits, FleetModel};

/// How often a worker that does not listen yet is tried.
const DIAL_EVERY: Duration = Duration::from_millis(10);
/// Credit is given back in parts of this size.
const CREDIT_PARTS: u32 = 4;

/// One connection.
pub(super) struct Conversation<'a> {
    pub(super) partition: &'a Partition,
    pub(super) model: &'a FleetModel,
    pub(super) limits: &'a FleetLimits,
    pub(super) socket: &'a Path,
    pub(super) epoch: Epoch,
}

/// The last sign of progress of a worker that has work.
struct Watch {
    steps: u64,
    since: Instant,
}

impl Conversation<'_> {
    /// Talks to the end, and says why it was the end.
    pub(super) async fn run(self) -> String {
        match self.talk().await {
            Ok(never) => match never {},
            Err(reason) => reason,
        }
    }

    async fn talk(&self) -> Result<std::convert::Infallible, String> {
        let mut worker = self.dial().await?;
        let welcome = self.welcome(&mut worker).await?;
        let link = self.link(&worker, welcome)?;
        self.partition.ready(link.clone());
        let mut watch = Watch { steps: 0, since: Instant::now() };
        let mut owed = 0;
        loop {
            match self.hear(&mut worker, self.limits.heartbeat_max).await? {
                Up::Step(step) => {
                    owed += link.take(step).map_err(|error| error.to_string())? as u32;
                    if owed >= self.limits.credit_events / CREDIT_PARTS {
                        worker.outbox().credit(std::mem::take(&mut owed));
                    }
                }
                Up::Load(load) => link.set_load(load),
                Up::Heartbeat(beat) => self.observe(&mut watch, beat)?,
                Up::Refused(reason) => return Err(reason),
                Up::Loading(_) | Up::Welcome(_) => {
                    return Err("the worker greeted twice".into());
                }
            }
        }
    }

    /// Connects, as soon as the worker listens.
    async fn dial(&self) -> Result<WorkerLink, String> {
        let deadline = Instant::now() + self.limits.listen_max;
        loop {
            match engine_wire::connect(self.socket, self.limits.credit_events).await {
                Ok(worker) => return Ok(worker),
                Err(WireError::Socket(error)) if is_not_there_yet(&error) => {}
                Err(error) => return Err(chain(&error)),
            }
            if Instant::now() >= deadline {
                return Err("the worker did not listen in time".into());
            }
            sleep(DIAL_EVERY).await;
        }
    }

    /// Waits while the weights are read.
    async fn welcome(&self, worker: &mut WorkerLink) -> Result<Welcome, String> {
        loop {
            match self.hear(worker, self.limits.stall_max).await? {
                Up::Loading(loading) => self.partition.loading(loading.done, loading.total),
                Up::Welcome(welcome) => return Ok(welcome),
                Up::Refused(reason) => return Err(reason),
                Up::Step(_) | Up::Load(_) | Up::Heartbeat(_) => {
                    return Err("the worker did not greet first".into());
                }
            }
        }
    }

    /// Checks what the worker says of itself against what it was started as.
    fn link(&self, worker: &WorkerLink, welcome: Welcome) -> Result<std::sync::Arc<Link>, String> {
        if welcome.epoch != self.epoch {
            return Err(format!("the worker says that its epoch is {}", welcome.epoch.0));
        }
        if welcome.model_digest != self.model.digest {
            return Err(format!("the worker runs weights {}", welcome.model_digest));
        }
        if welcome.kind != self.model.kind {
            return Err(format!("the worker's model is of the kind {:?}", welcome.kind));
        }
        let config = self.partition.config();
        let placement = Placement {
            partition: config.id.clone(),
            zone: config.zone.clone(),
            epoch: self.epoch,
            model_digest: welcome.model_digest,
            numerics: welcome.numerics,
        };
        Ok(Link::new(LinkConfig {
            placement,
            block_tokens: welcome.block_tokens,
            outbox: worker.outbox().clone(),
            requests_max: self.limits.requests_per_worker_max,
            stream_events_max: self.limits.stream_events_max,
        }))
    }

    /// The next frame, if it comes in time.
    async fn hear(&self, worker: &mut WorkerLink, within: Duration) -> Result<Up, String> {
        match timeout(within, worker.next()).await {
            Ok(Ok(Some(up))) => Ok(up),
            Ok(Ok(None)) => Err("the worker closed the connection".into()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("the worker said nothing for {} s", within.as_secs_f32())),
        }
    }

    /// A worker that beats but does not get on hangs in a step.
    fn observe(&self, watch: &mut Watch, beat: Heartbeat) -> Result<(), String> {
        if !beat.busy || beat.steps != watch.steps {
            *watch = Watch { steps: beat.steps, since: Instant::now() };
        }
        if watch.since.elapsed() > self.limits.stall_max {
            let seconds = self.limits.stall_max.as_secs_f32();
            return Err(format!("the worker finished no step for {seconds} s"));
        }
        Ok(())
    }
}

fn is_not_there_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
