//! Which weights these are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender};

use aws_lc_rs::digest::{Context, SHA256};

/// Bytes that are read at once, and between two words on progress.
const STEP: usize = 1 << 20;

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// How far the loading is. Each byte of the files counts twice: once for the digest, once for
/// the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadProgress {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Adds up what is done by the thread that hashes and by the one that reads weights.
pub(super) struct Meter<'a> {
    progress: &'a mut dyn FnMut(LoadProgress),
    hashed: Receiver<u64>,
    done: u64,
    total: u64,
}

impl<'a> Meter<'a> {
    /// Over files of so many `bytes`; `hashed` hears of those that the digest has seen.
    pub(super) fn new(
        bytes: u64,
        hashed: Receiver<u64>,
        progress: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        Self { progress, hashed, done: 0, total: 2 * bytes }
    }

    /// So many more bytes are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.done += bytes + self.hashed.try_iter().sum::<u64>();
        (self.progress)(LoadProgress { done: self.done, total: self.total.max(self.done) });
    }

    /// Tells the progress until the digest has seen everything.
    pub(super) fn wait(&mut self) {
        while let Ok(bytes) = self.hashed.recv() {
            self.add(bytes);
        }
    }
}

/// SHA-256 of bytes.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    finish(context)
}

/// What was hashed.
pub(super) fn finish(context: Context) -> Digest {
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// SHA-256 of a file. It is read, not mapped: the pages of a mapping would count as this
/// process's memory.
pub(super) fn of_file(file: &File, hashed: &Sender<u64>) -> io::Result<Digest> {
    let mut context = Context::new(&SHA256);
    let (mut part, mut place) = (vec![0; STEP], 0);
    loop {
        match file.read_at(&mut part, place) {
            Ok(0) => return Ok(finish(context)),
            Ok(count) => {
                context.update(&part[..count]);
                place += count as u64;
                // nobody listens any more when the weights have failed
                let _ = hashed.send(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Of a folder's files: SHA-256 of what `sha256sum` prints of them ([`engine_text::model_files`]).
pub(crate) fn of_folder(files: &[(String, &File)], hashed: &Sender<u64>) -> io::Result<Digest> {
    let mut lines = String::new();
    for (name, file) in files {
        for byte in of_file(file, hashed)? {
            lines.push_str(&format!("{byte:02x}"));
        }
        lines.push_str(&format!("  {name}\n"));
    }
    Ok(sha256(lines.as_bytes()))
}
