//! Files that only their owner can read, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::DataDirError;

/// What to do with a file that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// Refuse.
    Never,
    /// Replace it.
    Replace,
}

/// The longest private file, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// Writes a file with mode 0600. After a crash there is the old file or the new one.
pub fn write_private(file: &Path, bytes: &[u8], over: Overwrite) -> Result<(), DataDirError> {
    write(file, bytes, over, 0o600)
}

/// Writes a file that anyone may read who can enter its folder: certificates.
pub fn write_public(file: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    write(file, bytes, Overwrite::Replace, 0o644)
}

fn write(file: &Path, bytes: &[u8], over: Overwrite, mode: u32) -> Result<(), DataDirError> {
    let folder = file.parent().expect("a file of the data directory has a folder");
    let written = || -> Result<(), io::Error> {
        // made with mode 0600 from the beginning: a key is never readable, not even for a moment
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        temporary.as_file().sync_all()?;
        match over {
            Overwrite::Never => temporary.persist_noclobber(file)?,
            Overwrite::Replace => temporary.persist(file)?,
        };
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| match (over, error.kind()) {
        (Overwrite::Never, io::ErrorKind::AlreadyExists) => DataDirError::Exists(file.to_owned()),
        _ => DataDirError::io("write", file)(error),
    })
}

/// Reads a private file; `None` where it is not there. One that others can read is refused:
/// what was in it is no secret any more.
pub fn read_private(file: &Path) -> Result<Option<Vec<u8>>, DataDirError> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataDirError::io("open", file)(error)),
    };
    let metadata = opened.metadata().map_err(DataDirError::io("open", file))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::Exposed { file: file.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    opened.take(BYTES_MAX).read_to_end(&mut bytes).map_err(DataDirError::io("read", file))?;
    Ok(Some(bytes))
}
