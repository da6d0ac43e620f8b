//! The threads that compile grammars, so that no step waits for one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::EngineError;
use engine_wire::Submit;
use tokio::sync::mpsc::WeakSender;
use tracing::error;

use super::bench::Order;
use crate::{Grammars, Guide};

/// Threads: one slow grammar does not stop the others.
const THREADS: usize = 2;
/// What a thread's stack may grow to, in bytes: the compiler of grammars is recursive, and how deep
/// it goes is bounded by the size of a grammar. Pages that are never reached take no memory.
const STACK_BYTES: usize = 256 << 20;
/// Requests that wait for a thread.
const WAITING_MAX: usize = 64;
/// A request that has waited so long for its grammar fails. Nothing else depends on the time.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// When it may go better.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A request that needs a grammar.
pub(super) struct Job {
    pub(super) connection: u64,
    pub(super) submit: Box<Submit>,
    pub(super) came: Instant,
}

/// Starts its threads when the first job comes.
pub(super) struct Compiler {
    orders: WeakSender<Order>,
    jobs: Option<SyncSender<Job>>,
}

impl Compiler {
    /// What is compiled comes back as an order.
    pub(super) fn new(orders: WeakSender<Order>) -> Self {
        Self { orders, jobs: None }
    }

    /// Takes a job, if not too many wait.
    pub(super) fn take(
        &mut self,
        grammars: impl FnOnce() -> Arc<Grammars>,
        job: Job,
    ) -> Result<(), EngineError> {
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.jobs.insert(start(&grammars(), &self.orders)?),
        };
        let overloaded = |_| EngineError::Overloaded { retry_after: RETRY_AFTER };
        jobs.try_send(job).map_err(overloaded)
    }
}

fn start(
    grammars: &Arc<Grammars>,
    orders: &WeakSender<Order>,
) -> Result<SyncSender<Job>, EngineError> {
    let (jobs, waiting) = sync_channel(WAITING_MAX);
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..THREADS {
        let (grammars, orders, waiting) = (grammars.clone(), orders.clone(), waiting.clone());
        let thread = thread::Builder::new().name("grammar".into()).stack_size(STACK_BYTES);
        thread.spawn(move || work(&grammars, &orders, &waiting)).map_err(|error| {
            error!(%error, "cannot start a thread for grammars");
            EngineError::Internal
        })?;
    }
    Ok(jobs)
}

/// Works until nobody sends jobs, or nobody takes what comes of them.
fn work(grammars: &Grammars, orders: &WeakSender<Order>, waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { connection, mut submit, came }) = job else {
            return;
        };
        let guides = guides(grammars, &mut submit, came);
        let compiled = Order::Compiled { connection, submit, guides };
        if orders.upgrade().is_none_or(|orders| orders.blocking_send(compiled).is_err()) {
            return;
        }
    }
}

/// Compiles, unless it is too late. What time the request has left is less afterwards.
fn guides(
    grammars: &Grammars,
    submit: &mut Submit,
    came: Instant,
) -> Result<Vec<Guide>, EngineError> {
    let submission = &mut submit.submission;
    let on_time = || match came.elapsed() < WAIT_MAX {
        true => Ok(()),
        false => Err(EngineError::Overloaded { retry_after: RETRY_AFTER }),
    };
    on_time()?;
    // the compiler catches its own panics; one that gets past it must not take the thread along
    let compiled = catch_unwind(AssertUnwindSafe(|| grammars.guides(submission)));
    let guides = compiled.unwrap_or_else(|_| {
        error!(request = %submission.id, "compiling the grammar panicked");
        Err(EngineError::Internal)
    })?;
    on_time()?;
    if let Some(left) = submission.deadline {
        let late = EngineError::DeadlineExceeded { retry_after: RETRY_AFTER };
        submission.deadline = Some(left.checked_sub(came.elapsed()).ok_or(late)?);
    }
    Ok(guides)
}
