//! Which file this is.

use aws_lc_rs::digest::{Context, SHA256};

/// Bytes between two words on progress.
const STEP: usize = 4 << 20;

/// How far the loading is. Each byte of the file counts twice: once for the digest, once for
/// the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadProgress {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// SHA-256 of the bytes.
pub(super) fn sha256(bytes: &[u8], progress: &mut dyn FnMut(LoadProgress)) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let total = 2 * bytes.len() as u64;
    let mut done = 0;
    for part in bytes.chunks(STEP) {
        context.update(part);
        done += part.len() as u64;
        progress(LoadProgress { done, total });
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
