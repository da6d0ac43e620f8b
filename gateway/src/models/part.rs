//! A file on its way: `<file>.part`, and `<file>.part.etag` where a server named its version.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use engine_api::ModelDigest;

use super::FetchError;
use super::digest::{Hasher, hash_into};

/// What has arrived so far, with its running digest.
pub(super) struct Part {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    bytes: u64,
}

impl Part {
    /// Starts from nothing.
    pub(super) fn create(target: &Path) -> Result<Self, FetchError> {
        let mut part = Self::resume(target)?;
        part.restart()?;
        Ok(part)
    }

    /// Goes on with what an earlier fetch left, if anything.
    pub(super) fn resume(target: &Path) -> Result<Self, FetchError> {
        let path = beside(target, ".part");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(FetchError::io("open", &path))?;
        let mut hasher = Hasher::new();
        // leaves the position at the end, where the rest will be written
        let bytes = hash_into(&mut hasher, &mut file).map_err(FetchError::io("read", &path))?;
        Ok(Self { target: target.to_owned(), path, file, hasher, bytes })
    }

    /// How much has arrived, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file's final place.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Forgets everything that has arrived.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.remember_version(None)?;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(FetchError::io("empty", &self.path))?;
        self.hasher = Hasher::new();
        self.bytes = 0;
        Ok(())
    }

    /// Adds what has arrived.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(FetchError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The server's name for the version that has partly arrived.
    pub(super) fn version(&self) -> Option<String> {
        fs::read_to_string(beside(&self.path, ".etag")).ok()
    }

    /// Keeps that name for a later fetch.
    pub(super) fn remember_version(&self, version: Option<&str>) -> Result<(), FetchError> {
        let path = beside(&self.path, ".etag");
        match version {
            Some(version) => fs::write(&path, version).map_err(FetchError::io("write", &path)),
            None => remove(&path),
        }
    }

    /// Gives the file its final name if it is what was expected, and removes it if not.
    /// Returns its length in bytes.
    pub(super) fn finish(self, expected: ModelDigest) -> Result<u64, FetchError> {
        self.remember_version(None)?;
        let got = self.hasher.finish();
        if got != expected {
            remove(&self.path)?;
            return Err(FetchError::Digest { file: self.target, expected, got });
        }
        self.file.sync_all().map_err(FetchError::io("write", &self.path))?;
        fs::rename(&self.path, &self.target).map_err(FetchError::io("rename", &self.path))?;
        let folder = self.target.parent().expect("a weights file is in a folder");
        // without this, a power cut could take the new name away again
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(FetchError::io("write", folder))?;
        Ok(self.bytes)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FetchError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
