//! A file of packed weights: a head of 4096 bytes, the matrices, each on a cache line, and a
//! list of them.
//!
//! ```text
//!    0  "HANSEPKD"
//!    8  version of this format, version of the layout, 0x01020304: 32 bits each, native
//!   24  where the list begins, its length, the length of the file: 64 bits each
//!   48  SHA-256 of the model; digest of what the model file has beside its matrices
//!  112  digest of all the rest: SHA-256 of the head with zeros here, and of the SHA-256 of each
//!       4 MiB behind it, so that several threads can check it
//! ```

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256};
use engine_kernels::{PACKED_ALIGNMENT, PACKING_VERSION, WeightKind};
use serde_json::{Value, json};

use super::{Kept, Place};
use crate::model::LoadProgress;
use crate::model::digest::{Digest, finish, sha256};
use crate::model::file::MappedFile;

const MAGIC: &[u8; 8] = b"HANSEPKD";
/// Version of what is written here, apart from the matrices.
const FORMAT: u32 = 1;
/// Reads as itself where it was written.
const ORDER: u32 = 0x0102_0304;
const HEAD_BYTES: usize = 4096;
/// Where the head has the digest of the rest.
const DIGEST_AT: usize = 112;
/// Bytes that one thread hashes at a time.
const LEAF_BYTES: usize = 4 << 20;
/// Threads that check a file at most: memory is not faster than a few of them.
const THREADS_MAX: usize = 8;

/// What a head says.
pub(super) struct Head {
    pub(super) model: Digest,
    pub(super) head: Digest,
    list: std::ops::Range<usize>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Another program could have written it.
    #[error("{0}")]
    Exposed(String),
    /// It was made by another version, or for another model.
    #[error("it is of another {0}")]
    Other(&'static str),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// Writes a file from its beginning, and gives its length.
pub(super) fn write(
    out: &mut (impl Write + Seek),
    model: Digest,
    head: Digest,
    kept: &[Kept],
) -> io::Result<u64> {
    out.write_all(&[0; HEAD_BYTES])?;
    let mut out =
        Body { out, at: HEAD_BYTES as u64, leaf: Context::new(&SHA256), leaves: Vec::new() };
    let mut list = Vec::new();
    for Kept { place, parts } in kept {
        out.align()?;
        let start = out.at;
        for part in parts {
            out.write((**part).as_ref())?;
        }
        let Place { name, first, rows, columns, kind } = place;
        let (kind, bytes) = (format!("{kind:?}"), out.at - start);
        list.push(json!([name, first, rows, columns, kind, start, bytes]));
    }
    let (list, list_at) = (Value::Array(list).to_string(), out.at);
    out.write(list.as_bytes())?;
    let Body { out, at, leaf, mut leaves } = out;
    if !(at as usize - HEAD_BYTES).is_multiple_of(LEAF_BYTES) {
        leaves.push(finish(leaf));
    }
    let mut bytes = [0; HEAD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    for (place, number) in [FORMAT, PACKING_VERSION, ORDER].into_iter().enumerate() {
        bytes[8 + 4 * place..][..4].copy_from_slice(&number.to_ne_bytes());
    }
    for (place, number) in [list_at, list.len() as u64, at].into_iter().enumerate() {
        bytes[24 + 8 * place..][..8].copy_from_slice(&number.to_ne_bytes());
    }
    bytes[48..80].copy_from_slice(&model);
    bytes[80..112].copy_from_slice(&head);
    let content = root(&bytes, &leaves);
    bytes[DIGEST_AT..][..32].copy_from_slice(&content);
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&bytes)?;
    out.flush()?;
    Ok(at)
}

/// What follows the head, hashed on the way.
struct Body<'a, W> {
    out: &'a mut W,
    at: u64,
    leaf: Context,
    leaves: Vec<Digest>,
}

impl<W: Write> Body<'_, W> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = LEAF_BYTES - (self.at as usize - HEAD_BYTES) % LEAF_BYTES;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.out.write_all(now)?;
            self.leaf.update(now);
            self.at += now.len() as u64;
            if now.len() == room {
                let full = std::mem::replace(&mut self.leaf, Context::new(&SHA256));
                self.leaves.push(finish(full));
            }
            bytes = later;
        }
        Ok(())
    }

    fn align(&mut self) -> io::Result<()> {
        let missing = self.at.next_multiple_of(PACKED_ALIGNMENT as u64) - self.at;
        self.write(&[0; PACKED_ALIGNMENT][..missing as usize])
    }
}

fn root(head: &[u8; HEAD_BYTES], leaves: &[Digest]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&head[..DIGEST_AT]);
    context.update(&[0; 32]);
    context.update(&head[DIGEST_AT + 32..]);
    leaves.iter().for_each(|leaf| context.update(leaf));
    finish(context)
}

/// Checks a file and reads its head. Half of the progress is told.
pub(super) fn check(
    file: &MappedFile,
    model: Digest,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Head, Unfit> {
    let bytes = file.bytes();
    let head: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(Unfit::Damaged("it is too short"))?;
    if head[..8] != *MAGIC {
        return Err(Unfit::Damaged("it does not begin as it should"));
    }
    let short = |place: usize| {
        u32::from_ne_bytes(head[8 + 4 * place..][..4].try_into().expect("four bytes"))
    };
    let long = |place: usize| {
        u64::from_ne_bytes(head[24 + 8 * place..][..8].try_into().expect("eight bytes")) as usize
    };
    let digest = |at: usize| -> Digest { head[at..at + 32].try_into().expect("32 bytes") };
    if (short(0), short(2)) != (FORMAT, ORDER) {
        return Err(Unfit::Other("format"));
    }
    if short(1) != PACKING_VERSION {
        return Err(Unfit::Other("version of the layout"));
    }
    if digest(48) != model {
        return Err(Unfit::Other("model"));
    }
    if long(2) != bytes.len() {
        return Err(Unfit::Damaged("it has another length than it says"));
    }
    if root(head, &leaves(file, progress)) != digest(DIGEST_AT) {
        return Err(Unfit::Damaged("its digest is wrong"));
    }
    let list = long(0)..long(0).saturating_add(long(1));
    Ok(Head { model, head: digest(80), list })
}

/// The digests of all parts behind the head, by several threads.
fn leaves(file: &MappedFile, progress: &mut dyn FnMut(LoadProgress)) -> Vec<Digest> {
    let body = &file.bytes()[HEAD_BYTES..];
    let count = body.len().div_ceil(LEAF_BYTES);
    let next = AtomicUsize::new(0);
    let leaves = Mutex::new(vec![[0; 32]; count]);
    let hash_one = || {
        let leaf = next.fetch_add(1, Ordering::Relaxed);
        let part = body.chunks(LEAF_BYTES).nth(leaf)?;
        file.populate(HEAD_BYTES + leaf * LEAF_BYTES, part.len());
        let digest = sha256(part);
        leaves.lock().expect("no thread panics with it")[leaf] = digest;
        Some(leaf)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            // one thread fewer only takes longer
            let _ = thread::Builder::new()
                .name("check".into())
                .spawn_scoped(scope, || while hash_one().is_some() {});
        }
        while let Some(leaf) = hash_one() {
            let total = 2 * body.len() as u64;
            progress(LoadProgress { done: (leaf * LEAF_BYTES) as u64, total });
        }
    });
    leaves.into_inner().expect("no thread panics with it")
}

/// Where the matrices of a checked file are.
pub(super) fn places(
    file: &MappedFile,
    head: &Head,
) -> Result<HashMap<Place, (usize, usize)>, Unfit> {
    const WRONG: Unfit = Unfit::Damaged("its list makes no sense");
    let list = file.bytes().get(head.list.clone()).ok_or(WRONG)?;
    let list: Vec<Value> = serde_json::from_slice(list).map_err(|_| WRONG)?;
    let place = |entry: &Value| {
        let number = |index: usize| usize::try_from(entry[index].as_u64()?).ok();
        let kind = entry[4].as_str()?;
        let place = Place {
            name: entry[0].as_str()?.to_owned(),
            first: number(1)?,
            rows: number(2)?,
            columns: number(3)?,
            kind: WeightKind::ALL.into_iter().find(|known| format!("{known:?}") == kind)?,
        };
        Some((place, (number(5)?, number(6)?)))
    };
    list.iter().map(place).collect::<Option<_>>().ok_or(WRONG)
}
