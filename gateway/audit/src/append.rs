//! The wait for an entry to be durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::Recorded;

/// Why an entry was not recorded. The request that it belongs to must then be refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// More entries wait than the queue holds.
    #[error("the audit log's queue is full")]
    Busy,
    /// The disk is full. Appending goes on by itself when there is space.
    #[error("the audit log's disk is full")]
    Full,
    /// The log takes no more entries until it is opened again.
    #[error("the audit log is closed: {0}")]
    Closed(Arc<str>),
    /// The entry is longer than an entry may be.
    #[error("the entry has {bytes} bytes, and at most {max} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A terminal entry names a decision that is no permit of that request, or that already
    /// has its end. A fault of the caller: the log holds exactly one end for each permit.
    #[error("entry {decision} is no open decision of this request")]
    NotOpen {
        /// The index that the entry names.
        decision: u64,
    },
}

type Outcome = Result<Recorded, AppendError>;

#[derive(Debug, Default)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// Resolves when an entry is durable, or when it is known not to be. The entry is in the
/// queue already: dropping this does not take it back.
#[derive(Debug)]
#[must_use = "an entry is recorded only when this resolves without an error"]
pub struct Appending(Arc<Mutex<Slot>>);

/// The writer's end. It always resolves: dropped without an outcome, it says that the writer
/// is gone.
#[derive(Debug)]
pub(crate) struct Promise(Arc<Mutex<Slot>>);

pub(crate) fn promise() -> (Promise, Appending) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (Promise(slot.clone()), Appending(slot))
}

impl Promise {
    pub fn resolve(self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&self, outcome: Outcome) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.outcome.get_or_insert(outcome);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.settle(Err(AppendError::Closed("the writer is gone".into())));
    }
}

impl Future for Appending {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = &slot.outcome {
            return Poll::Ready(outcome.clone());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Appending {
    pub(crate) fn refused(error: AppendError) -> Self {
        let (promise, appending) = promise();
        promise.resolve(Err(error));
        appending
    }

    /// Blocks the thread until the entry is durable. For callers without an async runtime.
    ///
    /// # Errors
    ///
    /// As the future.
    pub fn wait(mut self) -> Result<Recorded, AppendError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}
