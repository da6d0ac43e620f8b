//! Which weights these are.

use aws_lc_rs::digest::{Context, SHA256};

/// Bytes between two words on progress.
const STEP: usize = 4 << 20;

/// How far the loading is. Each byte of the files counts twice: once for the digest, once for
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
    let mut done = 0;
    let total = 2 * bytes.len() as u64;
    sha256_onwards(bytes, total, &mut done, progress)
}

/// Of a folder's files: SHA-256 of what `sha256sum` prints of them ([`engine_text::model_files`]).
pub(super) fn of_folder(
    files: &[(String, &[u8])],
    progress: &mut dyn FnMut(LoadProgress),
) -> [u8; 32] {
    let mut lines = String::new();
    let mut done = 0;
    let total = 2 * files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    for (name, bytes) in files {
        for byte in sha256_onwards(bytes, total, &mut done, progress) {
            lines.push_str(&format!("{byte:02x}"));
        }
        lines.push_str(&format!("  {name}\n"));
    }
    sha256(lines.as_bytes(), &mut |_| {})
}

fn sha256_onwards(
    bytes: &[u8],
    total: u64,
    done: &mut u64,
    progress: &mut dyn FnMut(LoadProgress),
) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in bytes.chunks(STEP) {
        context.update(part);
        *done += part.len() as u64;
        progress(LoadProgress { done: *done, total });
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
