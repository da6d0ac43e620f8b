//! The audit log: what was decided and what came of it, in files that show a change.
//!
//! A log is a directory of *segments*, files of JSON Lines named for the index of their first
//! entry. Each line is
//!
//! ```text
//! {"format":1,"index":7,"previous":"<hash of entry 6>","entry":{...},"hash":"<hash of entry 7>"}
//! ```
//!
//! and `hash = SHA-256(0x00 || "hanse-audit-entry-v1\n" || previous || index || entry)`, where
//! `previous` is 32 bytes (zeros for entry 0), `index` is 8 bytes big-endian, and `entry` is
//! the bytes between `"entry":` and `,"hash"` exactly as they stand in the line. A verifier
//! in another language needs nothing but SHA-256.
//!
//! # What a chain of hashes proves
//!
//! [`verify`] finds any entry that was changed, removed, inserted or moved, as long as the
//! entries after it were not computed anew. Whoever can write the files can compute
//! everything anew, or cut whole entries off the end, and the files alone cannot show either.
//! What shows both is a hash that is kept elsewhere: every response names its decision by
//! index and hash ([`Recorded::receipt_name`]), so each client holds an [`Anchor`], and
//! [`verify`] takes any number of them. No head is written beside the log, because whoever
//! rewrites the log would rewrite that too. Signed checkpoints and witnesses come on top
//! of this format.
//!
//! # Durability
//!
//! [`Log::append`] resolves when the entry is on stable storage. One thread writes; entries
//! that come in while it flushes share the next flush. After a failed flush nothing is
//! accepted until the log is opened again, because what the kernel then holds and what the
//! disk holds may differ for good. When the disk is full, appends are refused until there is
//! space. Opening cuts what a crash left incomplete (never acknowledged) and lists the
//! requests that have a decision and no end.

#![forbid(unsafe_code)]

mod append;
mod digest;
mod entry;
mod line;
mod log;
mod receipt;
mod requests;
mod segment;
mod store;
mod timestamp;
mod verify;
mod walk;
mod writer;

pub use append::{AppendError, Appending};
pub use digest::Digest;
pub use entry::{
    Attempt, Configuration, Decision, Demanded, Deny, Durations, Embedding, Ending, Entry, Outcome,
    Parameters, Principal, PrincipalKind, Started, Stopped, Terminal, Usage, Zone,
};
pub use log::{Log, LogError, LogOptions, Recovery, Status};
pub use receipt::{Anchor, AnchorError, Recorded};
pub use requests::Unfinished;
pub use segment::SegmentId;
pub use store::{Directory, Store, StoreError};
pub use timestamp::Timestamp;
pub use verify::{Finding, Verified, VerifyError, verify};
