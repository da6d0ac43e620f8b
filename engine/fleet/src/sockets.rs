//! The directory of the workers' sockets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::FleetError;

/// Room for the file's name in a socket's address of 107 bytes.
const DIRECTORY_BYTES_MAX: usize = 80;

/// Where sockets are made.
pub(crate) enum Sockets {
    Configured(PathBuf),
    /// A path that is too long for an address is replaced by a directory of our own.
    Temporary(TempDir),
}

impl Sockets {
    /// Makes the directory, or checks that it is private.
    pub(crate) fn open(run_dir: &Path) -> Result<Self, FleetError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| FleetError::RunDir {
            path: run_dir.into(),
            source,
        };
        // a relative path would depend on where a worker is started
        let absolute = std::path::absolute(run_dir).map_err(|error| failed(error.into()))?;
        if absolute.as_os_str().len() <= DIRECTORY_BYTES_MAX {
            engine_wire::private_dir(&absolute).map_err(|error| failed(error.into()))?;
            return Ok(Self::Configured(absolute));
        }
        let directory = tempfile::Builder::new()
            .prefix("hanse-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| failed(error.into()))?;
        Ok(Self::Temporary(directory))
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Configured(path) => path.clone(),
            Self::Temporary(directory) => directory.path().into(),
        }
    }
}
