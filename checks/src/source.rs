//! The files of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("checks/ lies in the root").to_path_buf()
}

/// Every text file that git tracks or would track, so that a new file is checked before it is
/// committed. What git ignores is not there.
///
/// # Panics
/// When git cannot be run.
pub fn files(root: &Path) -> Vec<Source> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let mut files: Vec<Source> = names
        .split_terminator('\0')
        .filter_map(|path| {
            // a file that was removed but is still in the index, or is not text
            let text = std::fs::read_to_string(root.join(path)).ok()?;
            Some(Source { path: path.into(), text })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    files
}

impl Source {
    /// A file that a test makes up.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether a program wrote it, and says so in its first lines.
    pub fn is_generated(&self) -> bool {
        self.text.lines().take(5).any(|line| line.contains("@generated"))
    }
}
