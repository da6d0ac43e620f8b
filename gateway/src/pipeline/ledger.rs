//! The audit log as requests use it: an entry before anything runs, and one when it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::{AppendError, Appending, Entry, Log, Recorded, Terminal};
use futures_util::StreamExt;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Refusal;
use crate::telemetry::causes;

/// Accounts that are closed at the same time; more wait.
const CLOSING_AT_ONCE: usize = 1024;
/// How long a last entry waits for room in the log before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Sees that each decision gets its terminal entry, even when its account is dropped. Clones
/// share one log.
#[derive(Clone)]
pub struct Ledger {
    log: Log,
    /// How long the log takes to make an entry durable.
    flushes: Histogram,
    /// One place for each account, given back when its terminal entry is durable.
    places: Arc<Semaphore>,
    places_max: u32,
    /// Has room for all places, so that a drop can always hand over.
    closings: mpsc::Sender<Closing>,
}

/// A decision on its way into the log.
pub(super) enum Writing {
    /// Nothing was given to the log yet.
    Unwritten(Entry),
    /// The log has it and will say when it is durable.
    Pending(Appending),
    /// It is durable.
    Durable(Recorded),
}

/// An account that is to be closed.
pub(super) struct Closing {
    pub decision: Writing,
    /// Its `decision` is set when that is durable.
    pub terminal: Box<Terminal>,
    pub place: OwnedSemaphorePermit,
    /// Told when the terminal entry is durable; nobody listens after a drop.
    pub done: oneshot::Sender<Result<Recorded, Refusal>>,
}

impl Ledger {
    /// Starts the background writer; needs a tokio runtime. `requests_max` bounds the requests
    /// between their decision and their terminal entry.
    pub fn new(log: Log, requests_max: u16, flushes: Histogram) -> Self {
        let places_max = u32::from(requests_max.max(1));
        let (closings, taken) = mpsc::channel(places_max as usize);
        let places = Arc::new(Semaphore::new(places_max as usize));
        let (own, measured) = (log.clone(), flushes.clone());
        tokio::spawn(ReceiverStream::new(taken).for_each_concurrent(
            CLOSING_AT_ONCE,
            move |closing| {
                let (log, flushes) = (own.clone(), measured.clone());
                async move { close(&log, &flushes, closing).await }
            },
        ));
        Self { log, flushes, places, places_max, closings }
    }

    /// A place for one more account.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Busy)
    }

    /// Whether entries can be made durable.
    pub fn is_open(&self) -> bool {
        self.log.status() == audit::Status::Open
    }

    /// Accounts that are not closed.
    pub fn open_accounts(&self) -> u32 {
        self.places_max - self.places.available_permits() as u32
    }

    /// Resolves when every account is closed and its terminal entry durable.
    pub async fn settled(&self) {
        // only an error if the semaphore is closed, which nobody does
        let _ = self.places.acquire_many(self.places_max).await;
    }

    pub(super) fn append(&self, entry: Entry) -> Appending {
        self.log.append(entry)
    }

    /// Waits until an entry that was appended at `since` is durable.
    pub(super) async fn durable(
        &self,
        appending: &mut Appending,
        since: Instant,
    ) -> Result<Recorded, AppendError> {
        let outcome = appending.await;
        self.flushes.observe(since.elapsed().as_secs_f64());
        outcome
    }

    /// Never blocks and never loses anything: there are no more accounts than room.
    pub(super) fn hand_over(&self, closing: Closing) {
        if self.closings.try_send(closing).is_err() {
            tracing::error!("a terminal entry was lost because the ledger's writer has ended");
        }
    }
}

/// What the log's refusal means for the request.
pub(super) fn unavailable(error: AppendError) -> Refusal {
    tracing::error!(error = causes(&error), "an audit entry was not written");
    Refusal::AuditUnavailable
}

async fn close(log: &Log, flushes: &Histogram, closing: Closing) {
    let Closing { decision, mut terminal, place, done } = closing;
    let decision = match decision {
        Writing::Durable(recorded) => Ok(recorded),
        Writing::Pending(appending) => appending.await,
        Writing::Unwritten(entry) => log.append(entry).await,
    };
    let decision = match decision {
        Ok(decision) => decision,
        // what has no decision in the log has no end there either
        Err(error) => return tell(done, Err(unavailable(error))),
    };
    terminal.decision = decision.index();
    let entry = Entry::Terminal(terminal);
    let since = Instant::now();
    let outcome = log.append(entry.clone()).await;
    flushes.observe(since.elapsed().as_secs_f64());
    match outcome {
        Err(AppendError::Busy | AppendError::Full) => {
            tell(done, Err(Refusal::AuditUnavailable));
            wait_for_room(log, entry).await;
        }
        outcome => {
            // given back first, so that whoever is told finds the place free
            drop(place);
            tell(done, outcome.map_err(unavailable));
        }
    }
}

fn tell(done: oneshot::Sender<Result<Recorded, Refusal>>, outcome: Result<Recorded, Refusal>) {
    // an error means that the account was dropped, and nobody waits
    let _ = done.send(outcome);
}

/// The request ran, so its end has to be in the log. While it waits it holds its place, and
/// when all places are held, no request is taken any more.
async fn wait_for_room(log: &Log, entry: Entry) {
    loop {
        tokio::time::sleep(RETRY_AFTER).await;
        match log.append(entry.clone()).await {
            Err(AppendError::Busy | AppendError::Full) => {}
            Err(error) => return drop(unavailable(error)),
            Ok(_) => return,
        }
    }
}
