//! SHA-256 of files that are longer than memory, and of folders of them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use engine_api::ModelDigest;

/// Bytes that are read at once.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// A digest that grows with what is written.
#[derive(Clone)]
pub(super) struct Hasher(Context);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> ModelDigest {
        ModelDigest(self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// The digest and the length of a file, or of the files of a folder that matter: see
/// [`engine_fleet::model_files`], whose digest this is.
pub(super) fn hash_path(path: &Path) -> io::Result<(ModelDigest, u64)> {
    if !path.is_dir() {
        return hash_file(path);
    }
    let (mut lines, mut total) = (Hasher::new(), 0);
    for file in engine_fleet::model_files(path)? {
        let (digest, bytes) = hash_file(&path.join(&file))?;
        lines.update(format!("{digest}  {file}\n").as_bytes());
        total += bytes;
    }
    Ok((lines.finish(), total))
}

fn hash_file(file: &Path) -> io::Result<(ModelDigest, u64)> {
    let mut hasher = Hasher::new();
    let bytes = hash_into(&mut hasher, &mut File::open(file)?)?;
    Ok((hasher.finish(), bytes))
}

/// Feeds everything that is left to read, and counts it.
pub(super) fn hash_into(hasher: &mut Hasher, source: &mut impl Read) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        match source.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
