//! What steps made for one connection and its socket has not taken yet.

use std::sync::Arc;

use engine_wire::Step;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

/// Events that may wait in one mailbox: some seconds of a full batch. A fleet that is further
/// behind has stopped reading.
const EVENTS_MAX: usize = 32_768;

/// The side of the computing thread, which never waits.
pub(super) struct Mailbox {
    frames: mpsc::Sender<(Step, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    overrun: Arc<Notify>,
}

/// The side of the connection.
pub(super) struct Letters {
    frames: mpsc::Receiver<(Step, OwnedSemaphorePermit)>,
    overrun: Arc<Notify>,
}

/// The fleet has let its mailbox fill up, or is gone.
#[derive(Debug)]
pub(super) struct Undeliverable;

pub(super) fn mailbox() -> (Mailbox, Letters) {
    // every frame has at least one event, so the semaphore is the bound that counts
    let (sender, frames) = mpsc::channel(EVENTS_MAX);
    let room = Arc::new(Semaphore::new(EVENTS_MAX));
    let overrun = Arc::new(Notify::new());
    (Mailbox { frames: sender, room, overrun: overrun.clone() }, Letters { frames, overrun })
}

impl Mailbox {
    /// Puts a frame in, or says that the connection must end.
    pub(super) fn put(&self, step: Step) -> Result<(), Undeliverable> {
        let events = step.events() as u32;
        if let Ok(permit) = self.room.clone().try_acquire_many_owned(events)
            && self.frames.try_send((step, permit)).is_ok()
        {
            return Ok(());
        }
        self.overrun.notify_one();
        Err(Undeliverable)
    }
}

impl Letters {
    /// The next frame; `None` when the computing thread has closed the mailbox.
    pub(super) async fn take(&mut self) -> Option<Step> {
        // the room is free again as soon as the frame is out of the mailbox
        self.frames.recv().await.map(|(step, _permit)| step)
    }

    /// Waits until a frame did not fit: then even a writer that waits for credit must end.
    pub(super) fn overrun(&self) -> impl Future<Output = ()> + use<> {
        self.overrun.clone().notified_owned()
    }
}

#[cfg(test)]
mod tests {
    use engine_api::{Epoch, Timings, Usage};
    use engine_wire::StreamId;

    use super::*;

    fn step(events: usize) -> Step {
        let mut step = Step::empty(Epoch(1), 1);
        step.usage = (0..events as u64)
            .map(|n| (StreamId(n), Usage::default(), Timings::default()))
            .collect();
        step
    }

    #[tokio::test]
    async fn a_mailbox_that_nobody_empties_is_bounded() {
        let (mailbox, mut letters) = mailbox();
        for _ in 0..EVENTS_MAX / 1024 {
            mailbox.put(step(1024)).expect("there is room");
        }
        mailbox.put(step(1)).expect_err("it is full");
        assert_eq!(letters.take().await.map(|step| step.events()), Some(1024));
        mailbox.put(step(1024)).expect("there is room again");
        drop(letters);
        mailbox.put(step(1)).expect_err("nobody reads");
    }
}
