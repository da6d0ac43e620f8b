//! Where the bytes go.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::SegmentId;

/// What a log writes through. Four methods, so that tests can let each of them fail.
///
/// One thread uses a store, and it appends only to the newest segment.
pub trait Store: Send + 'static {
    /// Begins a new, empty segment, to which appends go from now on. When it returns, the
    /// segment survives a crash: its file and the directory are flushed. After
    /// [`StoreError::Full`] no file of that name is left.
    fn create(&mut self, segment: SegmentId) -> Result<(), StoreError>;

    /// Appends to the newest segment. Nothing is durable before [`Self::flush`] returns: a
    /// crash may leave all of it, none, any prefix, or pages with holes. After an error any
    /// prefix may be in the file.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// When it returns, every byte appended so far survives a crash. After an error no byte
    /// since the last flush may be trusted, and flushing again proves nothing: the kernel may
    /// have dropped the pages and would report success. An error is always
    /// [`StoreError::Broken`].
    fn flush(&mut self) -> Result<(), StoreError>;

    /// Cuts the newest segment to a length in bytes, durably.
    fn truncate(&mut self, length: u64) -> Result<(), StoreError>;
}

/// Why bytes did not get to the disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no space. It may go again later.
    #[error("the disk is full")]
    Full(#[source] io::Error),
    /// What is on the disk is unknown from now on.
    #[error("{operation} failed")]
    Broken {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    fn broken(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Broken { operation, source }
    }

    /// An error of an operation that can run out of space without harm.
    fn writing(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Broken { operation, source },
        }
    }
}

/// A directory on a local disk: segments with mode 0600.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
    newest: Option<File>,
}

impl Directory {
    /// Opens an existing directory, to go on with its newest segment, if there is one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let handle = File::open(path)?;
        let newest = match crate::segment::list(path)?.last() {
            Some(segment) => Some(OpenOptions::new().append(true).open(segment.path(path))?),
            None => None,
        };
        Ok(Self { path: path.into(), handle, newest })
    }

    fn newest(&self) -> &File {
        self.newest.as_ref().expect("a segment is created before anything is appended")
    }
}

impl Store for Directory {
    fn create(&mut self, segment: SegmentId) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        let options = options.append(true).create_new(true).mode(0o600);
        let file = options.open(segment.path(&self.path));
        let file = file.map_err(StoreError::writing("creating a segment"))?;
        file.sync_all().map_err(StoreError::broken("flushing a new segment"))?;
        self.handle.sync_all().map_err(StoreError::broken("flushing the directory"))?;
        self.newest = Some(file);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.newest().write_all(bytes).map_err(StoreError::writing("writing"))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.newest().sync_data().map_err(StoreError::broken("flushing"))
    }

    fn truncate(&mut self, length: u64) -> Result<(), StoreError> {
        let file = self.newest();
        file.set_len(length).map_err(StoreError::broken("cutting an incomplete entry"))?;
        file.sync_all().map_err(StoreError::broken("flushing a cut"))
    }
}
