//! The one place where memory is mapped.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use super::LoadError;

/// A model file's bytes, read by the operating system when they are needed.
pub(super) struct MappedFile(Mmap);

impl MappedFile {
    /// Maps a whole file.
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::File)?;
        if !file.metadata().map_err(LoadError::File)?.is_file() {
            return Err(LoadError::NotAFile);
        }
        // SAFETY: nobody may change the file while it is mapped, since the bytes behind `&[u8]`
        // would change. Model files are written under another name and renamed when they are
        // complete; nothing of ours opens one for writing, and an update is a new file. The
        // mapping is private and read-only, and it ends with the loading of the model: the
        // kernels keep repacked copies.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) };
        Ok(Self(map.map_err(LoadError::File)?))
    }

    /// The content.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
