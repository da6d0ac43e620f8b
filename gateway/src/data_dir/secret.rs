//! Random bytes that the gateway keeps to itself.

use std::fmt;
use std::path::PathBuf;

use super::{DataDir, DataDirError, Overwrite, read_private, write_private};

/// Which secret. Each has one use, so that one can be replaced without the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretName {
    /// Under which API keys are hashed. A new one makes every key invalid.
    KeyHash,
    /// Under which a tenant becomes a cache namespace. Gateways that share workers share it.
    CacheNamespace,
}

impl SecretName {
    fn file(self) -> &'static str {
        match self {
            Self::KeyHash => "key-hash",
            Self::CacheNamespace => "cache-namespace",
        }
    }
}

/// 32 random bytes.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Fresh from the system's generator.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Never shows the bytes.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl DataDir {
    /// The secret, made where it is not there yet.
    pub fn secret(&self, name: SecretName) -> Result<Secret, DataDirError> {
        let file = self.secret_file(name);
        if let Some(bytes) = read_private(&file)? {
            let bytes = bytes.try_into().map_err(|_| DataDirError::BadSecret(file))?;
            return Ok(Secret(bytes));
        }
        let secret = Secret::random();
        write_private(&file, &secret.0, Overwrite::Never)?;
        Ok(secret)
    }

    pub(super) fn secret_file(&self, name: SecretName) -> PathBuf {
        self.secrets().join(name.file())
    }
}
