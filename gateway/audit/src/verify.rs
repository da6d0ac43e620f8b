//! Checking a log that someone else may have had in their hands.

pub(crate) mod diagnose;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::walk::walk;
use crate::{Anchor, Digest, Unfinished};

/// A log that is intact as far as its files can tell (see the crate's documentation for what
/// they cannot).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Number of entries.
    pub entries: u64,
    /// Hash of the last one; `None` in an empty log.
    pub head: Option<Digest>,
    /// Number of files.
    pub segments: usize,
    /// Permitted requests without an end: running now, or cut short by a crash and not yet
    /// entered as unknown.
    pub unfinished: Vec<Unfinished>,
    /// Bytes of an incomplete entry at the very end: being written now, or left by a crash.
    /// No such entry was ever acknowledged.
    pub incomplete_bytes: u64,
}

/// What is wrong with an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// It is not what was written.
    Changed,
    /// It is not there, and later ones are.
    Removed,
    /// It stands at another place; the entry that is found instead.
    Reordered(u64),
    /// An earlier entry, with this index, stands in its place once more.
    Repeated(u64),
    /// Its line ends in the middle although other files follow.
    Torn,
    /// It is known to have existed, and the log ends before it.
    Truncated,
    /// It is known to have been another one: the log was written anew.
    Replaced,
    /// It is linked correctly, but this version cannot read it.
    Unreadable(String),
    /// It ends a request that is not open at this point.
    NotOpen,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("was changed"),
            Self::Removed => f.write_str("was removed"),
            Self::Reordered(other) => write!(f, "was reordered: entry {other} is in its place"),
            Self::Repeated(other) => write!(f, "is missing: entry {other} is there once more"),
            Self::Torn => f.write_str("is torn in the middle of the log"),
            Self::Truncated => f.write_str("was cut off: it is known to have existed"),
            Self::Replaced => f.write_str("was replaced: it is known to have had another hash"),
            Self::Unreadable(why) => write!(f, "cannot be read by this version: {why}"),
            Self::NotOpen => f.write_str("ends a request that has no open decision"),
        }
    }
}

/// The log is not intact.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file could not be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry is not as it was written.
    #[error("{}:{line}: entry {index} {finding}", file.display())]
    Entry {
        /// In which file.
        file: PathBuf,
        /// In which line, from 1.
        line: u64,
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        finding: Finding,
    },
}

/// Checks every entry of the log in a directory, and that it holds each of the anchors.
/// It reads the log once from beginning to end, in constant memory except for open requests,
/// and takes no lock: a running gateway is not disturbed.
///
/// # Errors
///
/// The first entry that is not as it was written.
pub fn verify(dir: &Path, anchors: &[Anchor]) -> Result<Verified, VerifyError> {
    let mut replaced = None;
    let walked = walk(dir, |index, hash| {
        let differs = |anchor: &&Anchor| anchor.index() == index && !anchor.fits(hash);
        if replaced.is_none() && anchors.iter().any(|anchor| differs(&anchor)) {
            replaced = Some(index);
        }
    })?;
    let entries = walked.chain.next;
    if let Some(index) = replaced {
        return Err(diagnose::anchor(dir, index, Finding::Replaced));
    }
    let beyond = anchors.iter().map(Anchor::index).filter(|index| *index >= entries).min();
    if let Some(index) = beyond {
        return Err(diagnose::anchor(dir, index, Finding::Truncated));
    }
    Ok(Verified {
        entries,
        head: (entries > 0).then_some(walked.chain.previous),
        segments: walked.segments,
        unfinished: walked.requests.list(),
        incomplete_bytes: walked.incomplete,
    })
}
