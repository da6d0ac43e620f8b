//! The one thread that writes.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::append::Promise;
use crate::line::Chain;
use crate::requests::{Effect, OpenRequests, Unfinished};
use crate::{AppendError, LogOptions, Recorded, SegmentId, Store, StoreError};

/// An entry on its way.
pub(crate) struct Job {
    pub entry: Vec<u8>,
    pub effect: Effect,
    pub promise: Promise,
}

/// What the writer tells everyone else.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Set once, when the log takes no more entries.
    pub closed: OnceLock<Arc<str>>,
    /// The last durable entry, and whether the disk was full at the last attempt.
    pub now: Mutex<Now>,
}

#[derive(Debug, Default)]
pub(crate) struct Now {
    pub head: Option<Recorded>,
    pub full: bool,
}

impl Health {
    fn update(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Closes with a reason; the first one stays.
    pub fn close(&self, reason: &str) -> AppendError {
        AppendError::Closed(self.closed.get_or_init(|| reason.into()).clone())
    }
}

pub(crate) struct Writer<S> {
    pub store: S,
    pub options: LogOptions,
    pub health: Arc<Health>,
    pub chain: Chain,
    pub requests: OpenRequests,
    /// Durable length of the newest segment; `None` while there is no segment.
    pub segment_bytes: Option<u64>,
}

/// The entries that share one flush.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    entries: Vec<(Recorded, Effect, Promise)>,
}

impl<S: Store> Writer<S> {
    /// Writes until the last sender is gone, then everything is durable or refused.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut chain = self.chain;
            let mut batch = Batch::default();
            self.stage(&mut batch, &mut chain, first);
            while batch.entries.len() < self.options.batch_entries_max
                && batch.lines.len() < self.options.batch_bytes_max
                && let Ok(job) = jobs.try_recv()
            {
                self.stage(&mut batch, &mut chain, job);
            }
            self.commit(batch, chain);
        }
    }

    /// Links an entry to the batch, or refuses it.
    fn stage(&self, batch: &mut Batch, chain: &mut Chain, job: Job) {
        if let Some(reason) = self.health.closed.get() {
            return job.promise.resolve(Err(AppendError::Closed(reason.clone())));
        }
        if let Effect::Ends(end) = &job.effect
            && !self.may_end(batch, end)
        {
            let decision = end.decision;
            return job.promise.resolve(Err(AppendError::NotOpen { decision }));
        }
        let index = chain.next;
        let hash = chain.write(&mut batch.lines, &job.entry);
        batch.entries.push((Recorded::new(index, hash), job.effect, job.promise));
    }

    fn may_end(&self, batch: &Batch, end: &Unfinished) -> bool {
        let again = |effect: &Effect| matches!(effect, Effect::Ends(other) if other == end);
        self.requests.holds(end) && !batch.entries.iter().any(|(_, effect, _)| again(effect))
    }

    fn commit(&mut self, batch: Batch, chain: Chain) {
        if batch.entries.is_empty() {
            return;
        }
        if let Err(error) = self.persist(&batch.lines) {
            let error = self.refusal(error);
            return batch.entries.into_iter().for_each(|(_, _, promise)| {
                promise.resolve(Err(error.clone()));
            });
        }
        self.chain = chain;
        let head = batch.entries.last().map(|(recorded, _, _)| recorded.clone());
        self.health.update(|now| *now = Now { head, full: false });
        for (recorded, effect, promise) in batch.entries {
            let applied = self.requests.apply(recorded.index(), effect);
            assert!(applied, "an entry is staged only when its request is open");
            promise.resolve(Ok(recorded));
        }
    }

    /// Writes lines and waits until they are durable.
    fn persist(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        let bytes = lines.len() as u64;
        let fits = |used: u64| used == 0 || used + bytes <= self.options.segment_bytes_max;
        if !self.segment_bytes.is_some_and(fits) {
            self.store.create(SegmentId(self.chain.next))?;
            self.segment_bytes = Some(0);
        }
        let used = self.segment_bytes.expect("a segment was just made");
        match self.store.append(lines) {
            Ok(()) => {}
            Err(StoreError::Full(source)) => {
                // what got into the file must not stand before the next entry
                self.store.truncate(used)?;
                return Err(StoreError::Full(source));
            }
            Err(error) => return Err(error),
        }
        self.store.flush()?;
        self.segment_bytes = Some(used + bytes);
        Ok(())
    }

    /// A full disk is waited out; anything else closes the log.
    fn refusal(&self, error: StoreError) -> AppendError {
        match error {
            StoreError::Full(_) => {
                self.health.update(|now| now.full = true);
                AppendError::Full
            }
            StoreError::Broken { operation, source } => {
                self.health.close(&format!("{operation} failed: {source}"))
            }
        }
    }
}
