//! The files of a log.

use std::fmt;
use std::path::{Path, PathBuf};

/// A segment by the index of its first entry. Its file is `<20 digits>.jsonl`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// Where the segment is, or will be.
    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }

    fn from_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".jsonl")?;
        let decimal = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        decimal.then(|| digits.parse().ok().map(Self))?
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}.jsonl", self.0)
    }
}

/// The segments of a log, oldest first. Other files are none of ours.
pub(crate) fn list(dir: &Path) -> std::io::Result<Vec<SegmentId>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        segments.extend(entry?.file_name().to_str().and_then(SegmentId::from_name));
    }
    segments.sort_unstable();
    Ok(segments)
}
