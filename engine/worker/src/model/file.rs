//! The one place where memory is mapped.

use std::fs::File;
use std::path::Path;

use engine_kernels::Unchanging;
use memmap2::{Advice, Mmap, UncheckedAdvice};

use super::LoadError;

/// A file's bytes, read by the operating system when they are needed.
pub(crate) struct MappedFile {
    map: Mmap,
    file: File,
}

impl MappedFile {
    /// Maps a whole file.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::File)?;
        if !file.metadata().map_err(LoadError::File)?.is_file() {
            return Err(LoadError::NotAFile);
        }
        Self::of(file).map_err(LoadError::File)
    }

    /// Maps a whole file that is open for reading.
    pub(super) fn of(file: File) -> std::io::Result<Self> {
        // SAFETY: nobody may change the file while it is mapped, since the bytes behind `&[u8]`
        // would change. Model files and files of packed weights are written under another name
        // and renamed when they are complete; nothing of ours opens one for writing, and an
        // update is a new file. The mapping is private and read-only.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) };
        Ok(Self { map: map?, file })
    }

    /// The content.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The file, for reading without the mapping.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Has the system read a part at once, which is quicker than page by page.
    pub(super) fn populate(&self, start: usize, length: usize) {
        // an old kernel does not know how, and reads the pages when they are touched
        let _ = self.map.advise_range(Advice::PopulateRead, start, length);
    }

    /// Gives the memory of a part back: it is read from the file again if it is touched again.
    pub(crate) fn release(&self, part: &[u8]) {
        let start = part.as_ptr().addr().wrapping_sub(self.map.as_ptr().addr());
        if part.is_empty() || start.checked_add(part.len()).is_none_or(|end| end > self.map.len()) {
            return;
        }
        // SAFETY: `DontNeed` drops pages of a mapping that is private and was never written: what
        // is read there afterwards comes from the file, and is the same.
        #[allow(unsafe_code)]
        let released = unsafe {
            self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, part.len())
        };
        // it is an advice; without it the pages go with the mapping
        let _ = released;
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

// SAFETY: a mapping stays where it is until it is dropped, and nobody changes the file (see `of`).
#[allow(unsafe_code)]
unsafe impl Unchanging for MappedFile {}
