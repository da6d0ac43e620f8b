//! The data directory: everything that a gateway keeps on its machine.
//!
//! ```text
//! data/                 0700; one gateway at a time (`lock`)
//!   ca/                 ca.crt and ca.key of the development CA
//!   tls/                server.crt and server.key
//!   keys/               keys for clients, in the clear: the development key
//!   secrets/            32 random bytes each
//!   models/<id>/<file>  weights
//!   packed/             weights as the kernels read them, made from those; may be removed
//!   audit/              the audit log
//!   run/                sockets of workers, and the address that is served
//! ```

mod lock;
mod private_file;
mod secret;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use lock::DataLock;
pub use private_file::{Overwrite, read_private, write_private, write_public};
pub use secret::{Secret, SecretName};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is not there, and this command does not make it.
    #[error("there is no data directory {}; start the gateway once, or name it with --data", .0.display())]
    Missing(PathBuf),

    /// Another gateway uses it.
    #[error(
        "another gateway uses the data directory {}{}; stop it, or give this one its own with \
         --data",
        directory.display(),
        holder.map_or_else(String::new, |id| format!(" (process {id})"))
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The other gateway's process id, where it could be read.
        holder: Option<u32>,
    },

    /// A private file that others can read.
    #[error("{} can be read by others (mode {mode:o}); run `chmod 600` on it", file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// A private file would be overwritten.
    #[error("{} exists already; --force replaces it", .0.display())]
    Exists(PathBuf),

    /// A secret whose file is damaged.
    #[error("{} does not hold a secret of 32 bytes", .0.display())]
    BadSecret(PathBuf),

    /// An operation on a file or folder failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl DataDirError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }
}

/// A data directory that exists and that only its owner can enter.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Makes it where it does not exist, and closes it to others where it is open.
    pub fn create(root: &Path) -> Result<Self, DataDirError> {
        make_private_folder(root)?;
        let data = Self::open(root)?;
        let folders = [
            data.ca(),
            data.tls(),
            data.keys(),
            data.secrets(),
            data.models(),
            data.audit(),
            data.run(),
        ];
        folders.iter().try_for_each(|folder| make_private_folder(folder))?;
        Ok(data)
    }

    /// One that exists; nothing is made or changed.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        match fs::canonicalize(root) {
            Ok(root) if root.is_dir() => Ok(Self { root }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DataDirError::io("open", root)(error))
            }
            _ => Err(DataDirError::Missing(root.to_owned())),
        }
    }

    /// The directory itself, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The development CA.
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The server's certificate and key.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// Keys for clients.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Secrets of the gateway.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Weights.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Weights as the kernels read them. Workers make the folder.
    pub fn packed(&self) -> PathBuf {
        self.root.join("packed")
    }

    /// The audit log.
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// Sockets.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The key of the tenant `development`, made at the first start.
    pub fn development_key(&self) -> PathBuf {
        self.keys().join("development.key")
    }

    /// Where a gateway that serves writes its base URL.
    pub fn base_url(&self) -> PathBuf {
        self.run().join("base-url")
    }
}

fn make_private_folder(folder: &Path) -> Result<(), DataDirError> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => close_to_others(folder),
        Err(error) => Err(DataDirError::io("make the folder", folder)(error)),
    }
}

fn close_to_others(folder: &Path) -> Result<(), DataDirError> {
    let metadata = fs::metadata(folder).map_err(DataDirError::io("open", folder))?;
    if !metadata.is_dir() {
        return Err(DataDirError::io("use", folder)(io::ErrorKind::NotADirectory.into()));
    }
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .map_err(DataDirError::io("restrict the folder", folder))
}

#[cfg(test)]
mod tests;
