//! One fleet on the line.

use std::sync::Arc;
use std::time::Duration;

use engine_api::Epoch;
use engine_wire::bounds::{PROTOCOL, STEP_EVENTS_MAX};
use engine_wire::{Connection, Down, DownFrames, FrameError, Up, Welcome, WireError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::Stage;
use super::bench::{Order, Pulse};
use super::mailbox::{Letters, mailbox};
use crate::CoreCard;

/// How long a connection may take to greet.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// Progress of loading is told no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);
/// Signs of life.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);
/// Loads are told no more often than this.
const LOAD_EVERY: Duration = Duration::from_millis(100);
/// Credit that a fleet may heap up.
const CREDIT_SUM_MAX: usize = 1 << 24;

/// What every connection needs.
pub(super) struct Reception {
    pub(super) epoch: Epoch,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) stages: watch::Receiver<Stage>,
    pub(super) pulse: Arc<Pulse>,
}

impl Reception {
    /// Talks to a fleet until either end closes.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection) {
        let id = connection.id;
        match self.talk(connection).await {
            Ok(()) => info!(connection = id, "connection closed"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(connection = id, %error, cause, "connection failed");
            }
        }
    }

    async fn talk(&self, connection: Connection) -> Result<(), WireError> {
        let Connection { id, mut down, up } = connection;
        let hello = timeout(HELLO_MAX, down.hello())
            .await
            .map_err(|_| WireError::Transport("the greeting did not come in time".into()))??;
        // a frame larger than the whole credit could never be sent
        if (hello.credit as usize) < STEP_EVENTS_MAX {
            let problem = format!("must be at least {STEP_EVENTS_MAX}");
            return Err(FrameError { field: "hello.credit", problem }.into());
        }
        let Some(card) = self.loaded(&up).await else {
            return Ok(());
        };
        let (mailbox, letters) = mailbox();
        let opened = self.orders.send(Order::Open { connection: id, mailbox }).await;
        if opened.is_err() || up.send(Up::Welcome(self.welcome(card))).await.is_err() {
            return Ok(());
        }
        let credit = Semaphore::new(hello.credit as usize);
        let overrun = letters.overrun();
        let ended = tokio::select! {
            ended = self.read(id, &mut down, &credit) => ended,
            () = write(letters, &up, &credit) => Ok(()),
            () = self.pulse(&up) => Ok(()),
            () = overrun => Ok(()),
        };
        // the computing thread is gone only when the process ends
        let _ = self.orders.send(Order::Close { connection: id }).await;
        ended
    }

    /// Tells the progress until the model is loaded; `None` when it never will be, or when
    /// nobody listens.
    async fn loaded(&self, up: &mpsc::Sender<Up>) -> Option<CoreCard> {
        let mut stages = self.stages.clone();
        loop {
            let stage = stages.borrow_and_update().clone();
            let frame = match stage {
                Stage::Ready(card) => return Some(card),
                Stage::Loading(loading) => Up::Loading(loading),
                Stage::Failed(reason) => {
                    let _ = up.send(Up::Refused(reason)).await;
                    // the other end closes when it has read the reason
                    up.closed().await;
                    return None;
                }
            };
            up.send(frame).await.ok()?;
            stages.changed().await.ok()?;
            // progress is told now and then, the end of loading at once
            let ended = stages.wait_for(|stage| !matches!(stage, Stage::Loading(_)));
            if let Ok(Err(_)) = timeout(PROGRESS_EVERY, ended).await {
                return None;
            }
        }
    }

    fn welcome(&self, card: CoreCard) -> Welcome {
        Welcome {
            protocol: PROTOCOL,
            epoch: self.epoch,
            model_digest: card.digest,
            numerics: card.numerics,
            context: card.context,
            vocabulary: card.vocabulary,
            blocks: card.blocks,
            block_tokens: card.block_tokens,
            kind: card.kind,
        }
    }

    /// Turns frames into orders. While the queue of orders is full nothing is read, and the
    /// fleet's frames wait in the socket.
    async fn read(
        &self,
        connection: u64,
        down: &mut DownFrames,
        credit: &Semaphore,
    ) -> Result<(), WireError> {
        while let Some(frame) = down.next().await? {
            let order = match frame {
                Down::Submit(submit) => Order::Submit { connection, submit },
                Down::Embed(embed) => Order::Embed { connection, embed },
                Down::Cancel(stream) => Order::Cancel { connection, stream },
                Down::Drain => Order::Drain { connection },
                Down::Credit(events) => {
                    grant(credit, events)?;
                    continue;
                }
                Down::Hello(_) => {
                    let problem = "must not be `hello` again".into();
                    return Err(FrameError { field: "down.frame", problem }.into());
                }
            };
            if self.orders.send(order).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells load and life until nobody listens.
    async fn pulse(&self, up: &mpsc::Sender<Up>) {
        let mut loads = self.pulse.loads();
        loads.mark_changed();
        let mut beats = interval(HEARTBEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let frame = tokio::select! {
                _ = beats.tick() => Up::Heartbeat(self.pulse.heartbeat()),
                Ok(()) = loads.changed() => {
                    sleep(LOAD_EVERY).await;
                    Up::Load(*loads.borrow_and_update())
                }
            };
            if up.send(frame).await.is_err() {
                return;
            }
        }
    }
}

fn grant(credit: &Semaphore, events: u32) -> Result<(), WireError> {
    if credit.available_permits() + events as usize > CREDIT_SUM_MAX {
        let problem = format!("must not sum up to more than {CREDIT_SUM_MAX}");
        return Err(FrameError { field: "credit.events", problem }.into());
    }
    credit.add_permits(events as usize);
    Ok(())
}

/// Sends frames as far as the credit goes, until the mailbox is closed or nobody listens.
async fn write(mut letters: Letters, up: &mpsc::Sender<Up>, credit: &Semaphore) {
    while let Some(step) = letters.take().await {
        let Ok(permit) = credit.acquire_many(step.events() as u32).await else {
            return;
        };
        permit.forget();
        if up.send(Up::Step(step)).await.is_err() {
            return;
        }
    }
}
