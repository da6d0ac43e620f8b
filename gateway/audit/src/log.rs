//! The log as the gateway holds it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use crate::append::promise;
use crate::requests::Effect;
use crate::walk::{LINE_BYTES_MAX, TORN_BYTES_MAX, Walked, walk};
use crate::writer::{Health, Job, Writer};
use crate::{
    AppendError, Appending, Directory, Entry, Recorded, Store, StoreError, Unfinished, VerifyError,
};

/// The frame of a line is shorter than this, in bytes.
const FRAME_BYTES_MAX: usize = 256;

/// The longest entry, in bytes.
const ENTRY_BYTES_MAX: usize = LINE_BYTES_MAX - FRAME_BYTES_MAX;

/// The bounds of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// A segment gets no further entries beyond this length, in bytes.
    pub segment_bytes_max: u64,
    /// How many entries may wait for the writer.
    pub queue_entries_max: usize,
    /// How many entries share a flush at most.
    pub batch_entries_max: usize,
    /// How many bytes share a flush at most, but for the last entry.
    pub batch_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            queue_entries_max: 4096,
            batch_entries_max: 1024,
            batch_bytes_max: 4 << 20,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another gateway has it.
    #[error("the audit log is in use by another gateway")]
    InUse,
    /// The directory cannot be used.
    #[error("{operation}")]
    Directory {
        /// What was tried, for example `creating the audit directory`.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What is in it was changed. Nothing may be appended, or the change would be covered;
    /// move the directory away as evidence, and start with a new one.
    #[error("the audit log is damaged")]
    Damaged(#[source] VerifyError),
    /// An incomplete entry could not be cut off.
    #[error("cutting off an incomplete entry")]
    Cut(#[source] StoreError),
}

/// What was found when the log was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of incomplete entries that were cut off; none of them was acknowledged.
    pub cut_bytes: u64,
    /// Permitted requests without an end: a crash took it. Append
    /// [`crate::Terminal::unknown`] for each before anything else.
    pub unfinished: Vec<Unfinished>,
}

/// Whether the log takes entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// It does.
    Open,
    /// Not while the disk is full.
    Full,
    /// Not until it is opened again, for this reason.
    Closed(Arc<str>),
}

/// An open log. Cheap to clone. The last clone that is dropped waits until everything that
/// was appended is durable.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    jobs: RwLock<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    health: Arc<Health>,
    recovery: Recovery,
    /// Held open for its lock.
    _lock: File,
}

impl Log {
    /// Opens the log in a directory, which is made if it is not there (mode 0700). Every
    /// entry is verified; an incomplete one at the end is cut off.
    ///
    /// # Errors
    ///
    /// Another process has the log open, the directory cannot be used, or entries were
    /// changed.
    pub fn open(dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        Self::open_with(dir, options, Directory::open)
    }

    /// As [`Self::open`], writing through a store of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_with<S: Store>(
        dir: &Path,
        options: LogOptions,
        store: impl FnOnce(&Path) -> io::Result<S>,
    ) -> Result<Self, LogError> {
        let lock = prepare(dir)?;
        let mut head = None;
        let walked = walk(dir, |index, hash| head = Some((index, *hash)));
        let walked = walked.map_err(LogError::Damaged)?;
        let mut store = store(dir).map_err(failed("opening the audit directory"))?;
        if walked.incomplete > 0 {
            store.truncate(walked.complete).map_err(LogError::Cut)?;
        }
        let recovery = Recovery {
            entries: walked.chain.next,
            cut_bytes: walked.incomplete,
            unfinished: walked.requests.list(),
        };
        let head = head.map(|(index, hash)| Recorded::new(index, hash));
        Self::start(options, store, walked, head, recovery, lock)
    }

    fn start<S: Store>(
        options: LogOptions,
        store: S,
        walked: Walked,
        head: Option<Recorded>,
        recovery: Recovery,
        lock: File,
    ) -> Result<Self, LogError> {
        // what a crash may leave behind a flush must be known when the log is opened again
        let options = LogOptions {
            batch_bytes_max: options.batch_bytes_max.min(TORN_BYTES_MAX as usize - LINE_BYTES_MAX),
            ..options
        };
        let health = Arc::new(Health::default());
        health.now.lock().unwrap_or_else(PoisonError::into_inner).head = head;
        let (jobs, queue) = sync_channel(options.queue_entries_max);
        let writer = Writer {
            store,
            options,
            health: health.clone(),
            chain: walked.chain,
            requests: walked.requests,
            segment_bytes: (walked.segments > 0).then_some(walked.complete),
        };
        let thread = std::thread::Builder::new().name("audit".into());
        let writer = thread.spawn(move || writer.run(&queue));
        let writer = writer.map_err(failed("starting the audit thread"))?;
        Ok(Self(Arc::new(Inner {
            jobs: RwLock::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            health,
            recovery,
            _lock: lock,
        })))
    }

    /// Queues an entry. It never blocks; what it returns resolves when the entry is durable.
    ///
    /// # Errors
    ///
    /// Every error means that the entry is not recorded and the request that it belongs to
    /// must not go on.
    pub fn append(&self, entry: Entry) -> Appending {
        if let Some(reason) = self.0.health.closed.get() {
            return Appending::refused(AppendError::Closed(reason.clone()));
        }
        let effect = Effect::of(&entry);
        let entry = entry.canonical();
        if entry.len() > ENTRY_BYTES_MAX {
            let (bytes, max) = (entry.len(), ENTRY_BYTES_MAX);
            return Appending::refused(AppendError::TooLarge { bytes, max });
        }
        let (promise, appending) = promise();
        let jobs = self.0.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let Some(jobs) = jobs.as_ref() else {
            return Appending::refused(self.0.health.close("it was closed"));
        };
        match jobs.try_send(Job { entry, effect, promise }) {
            Ok(()) => appending,
            Err(TrySendError::Full(_)) => Appending::refused(AppendError::Busy),
            Err(TrySendError::Disconnected(_)) => {
                Appending::refused(self.0.health.close("the writer is gone"))
            }
        }
    }

    /// What was found when the log was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.0.recovery
    }

    /// The last durable entry.
    pub fn head(&self) -> Option<Recorded> {
        self.0.health.now.lock().unwrap_or_else(PoisonError::into_inner).head.clone()
    }

    /// Whether the log takes entries, and why not.
    pub fn status(&self) -> Status {
        if let Some(reason) = self.0.health.closed.get() {
            return Status::Closed(reason.clone());
        }
        let now = self.0.health.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.full { Status::Full } else { Status::Open }
    }

    /// Whether the log takes entries.
    pub fn is_open(&self) -> bool {
        self.status() == Status::Open
    }

    /// Waits until everything that was appended is durable, and closes the log. Blocks for
    /// about one flush.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        drop(self.jobs.write().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            self.health.close("the writer is gone");
        }
        self.health.close("it was closed");
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes the directory and takes its lock.
fn prepare(dir: &Path) -> Result<File, LogError> {
    let is_new = !dir.exists();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed("creating the audit directory"))?;
    let parent = dir.parent().filter(|parent| is_new && !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        // so that a new directory survives a crash with everything in it
        let flushed = File::open(parent).and_then(|parent| parent.sync_all());
        flushed.map_err(failed("flushing the directory above the audit directory"))?;
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(dir.join("lock")).map_err(failed("opening the audit lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse),
        Err(TryLockError::Error(source)) => Err(failed("locking the audit directory")(source)),
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::Directory { operation, source }
}
