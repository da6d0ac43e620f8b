//! The folder of packed weights: what is in it, who may write it, and how large it gets.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use engine_api::ModelDigest;
use engine_kernels::PACKING_VERSION;
use tracing::{info, warn};

use super::format::{self, Unfit};
use super::{Kept, PackedFile};
use crate::model::LoadProgress;
use crate::model::digest::Digest;
use crate::model::file::MappedFile;

/// What files of packed weights end with.
const END: &str = ".packed";
/// What a file is called while it is written.
const PART_END: &str = ".part";
/// What a writer holds.
const LOCK: &str = ".lock";
/// Bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Where packed weights of a model are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackedDir {
    /// The folder; made with mode 0700 where it does not exist.
    pub path: PathBuf,
    /// SHA-256 of the model.
    pub model: ModelDigest,
    /// What the files in it may take together, in bytes. Those of other models that were not
    /// used for the longest time make room.
    pub bytes_max: u64,
}

/// Weights that are to be written.
pub(crate) struct Save {
    dir: PackedDir,
    head: Digest,
    kept: Vec<Kept>,
}

impl PackedDir {
    /// The room of all files together unless something else is asked for: 64 GiB.
    pub const BYTES_MAX: u64 = 64 << 30;

    /// Where the model's file is, or will be.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(format!("{}-v{PACKING_VERSION}{END}", self.model))
    }

    /// The model's file, checked. One that cannot be used is told of, and is written anew.
    pub(in crate::model) fn find(
        &self,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Option<PackedFile> {
        let began = Instant::now();
        match self.open(progress) {
            Ok(found) => {
                let ms = began.elapsed().as_millis() as u64;
                info!(file = %self.file().display(), ms, "packed weights found");
                Some(found)
            }
            Err(Unfit::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(unfit) => {
                self.ignore(&unfit.to_string());
                None
            }
        }
    }

    /// Says that the file is not used.
    pub(in crate::model) fn ignore(&self, reason: &str) {
        let file = self.file();
        warn!(file = %file.display(), reason, "packed weights ignored; they are packed anew");
    }

    pub(super) fn open(&self, progress: &mut dyn FnMut(LoadProgress)) -> Result<PackedFile, Unfit> {
        let path = self.file();
        let here = fs::symlink_metadata(&path)?;
        check_folder(&self.path)?;
        if !here.is_file() {
            return Err(Unfit::Exposed("it is not a regular file".into()));
        }
        let file = File::open(&path)?;
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (here.dev(), here.ino()) {
            return Err(Unfit::Exposed("it was replaced while it was opened".into()));
        }
        if opened.uid() != own_user()? {
            return Err(Unfit::Exposed(format!("it belongs to user {}", opened.uid())));
        }
        if opened.mode() & 0o077 != 0 {
            let mode = opened.mode() & 0o777;
            return Err(Unfit::Exposed(format!("it has mode {mode:o}, not 600")));
        }
        // what was used last goes last; without that the order is only that of the writing
        let _ = file.set_modified(SystemTime::now());
        let map = MappedFile::of(file)?;
        let head = format::check(&map, self.model.0, progress)?;
        let places = format::places(&map, &head)?;
        Ok(PackedFile { map: Arc::new(map), model: head.model, head: head.head, places })
    }

    /// What is to be done after a load.
    pub(in crate::model) fn save(&self, kept: Vec<Kept>, head: Digest) -> Save {
        Save { dir: self.clone(), head, kept }
    }

    /// Removes older versions of this model's file, what was left half-written, and then other
    /// models' files until there is room for so many bytes.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let (own, model) = (self.file(), self.model.to_string());
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(PART_END) || (name.starts_with(&model) && name.ends_with(END)) {
                if entry.path() != own {
                    fs::remove_file(entry.path())?;
                }
            } else if name.ends_with(END) {
                let metadata = entry.metadata()?;
                others.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        others.sort();
        let mut sum: u64 = others.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, path) in others {
            if sum + bytes <= self.bytes_max {
                break;
            }
            info!(file = %path.display(), "removed to make room for other packed weights");
            fs::remove_file(path)?;
            sum -= length;
        }
        Ok(())
    }
}

impl Save {
    /// The folder, the digest of the head, and the matrices.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (&PackedDir, Digest, &[Kept]) {
        (&self.dir, self.head, &self.kept)
    }

    /// Writes the file, and tells what came of it: a worker goes on without one.
    pub(crate) fn run(self) {
        let began = Instant::now();
        let file = self.dir.file();
        match self.write() {
            Ok(Some(bytes)) => {
                let ms = began.elapsed().as_millis() as u64;
                info!(file = %file.display(), bytes, ms, "packed weights written");
            }
            Ok(None) => info!(file = %file.display(), "packed weights are written by another"),
            Err(error) => {
                let path = file.display();
                warn!(file = %path, %error, "packed weights not written; every start packs anew");
            }
        }
    }

    /// The length of the file; `None` where another worker writes it or has just written it.
    pub(super) fn write(&self) -> io::Result<Option<u64>> {
        let Self { dir, head, kept } = self;
        let length = |kept: &Kept| -> u64 {
            kept.parts.iter().map(|part| (**part).as_ref().len() as u64).sum()
        };
        let bytes = kept.iter().map(length).sum();
        if bytes > dir.bytes_max {
            let reason = format!("they take {bytes} bytes, and {} are allowed", dir.bytes_max);
            return Err(io::Error::other(reason));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&dir.path)?;
        check_folder(&dir.path).map_err(io::Error::other)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let known = |found: PackedFile| {
            found.head == *head && kept.iter().all(|kept| found.places.contains_key(&kept.place))
        };
        if dir.open(&mut |_| {}).is_ok_and(known) {
            return Ok(None);
        }
        dir.make_room(bytes)?;
        let file = dir.file();
        let part = file.with_extension(format!("packed{PART_END}"));
        let written = write_part(&part, dir.model.0, *head, kept)
            .and_then(|bytes| fs::rename(&part, &file).map(|()| bytes))
            .inspect_err(|_| drop(fs::remove_file(&part)))?;
        // the name lasts, too
        File::open(&dir.path)?.sync_all()?;
        Ok(Some(written))
    }
}

fn write_part(path: &Path, model: Digest, head: Digest, kept: &[Kept]) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let bytes = format::write(&mut out, model, head, kept)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(bytes)
}

/// Refuses a folder that others can write.
fn check_folder(path: &Path) -> Result<(), Unfit> {
    let found = fs::metadata(path)?;
    if found.uid() != own_user()? {
        return Err(Unfit::Exposed(format!("its folder belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o777;
        return Err(Unfit::Exposed(format!("its folder has mode {mode:o}: others can write it")));
    }
    Ok(())
}

/// The user that this process runs as: the kernel says so of the process's own folder.
fn own_user() -> io::Result<u32> {
    fs::metadata("/proc/self").map(|found| found.uid())
}
