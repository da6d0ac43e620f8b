//! The API keys of a gateway, as keyed hashes.
//!
//! `keys/keys.json` holds HMAC-SHA-256 of each key under a secret of the data directory. A key
//! has 256 random bits, so no slow hash is needed against guessing; the HMAC makes a stolen
//! file useless for testing candidates without the secret beside it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use policy::TenantId;
use serde::{Deserialize, Serialize};

use super::{ApiKey, AuthError, Principal, PrincipalKind};
use crate::data_dir::{DataDir, DataDirError, Overwrite, SecretName, read_private, write_private};

/// The most keys that one gateway has, revoked ones included.
const KEYS_MAX: usize = 3000;
/// The longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What is kept of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The public part.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was made, in Unix seconds.
    pub created: i64,
    /// From when on it is not valid, in Unix seconds.
    pub expires: Option<i64>,
    /// When it was taken back, in Unix seconds.
    pub revoked: Option<i64>,
    /// HMAC-SHA-256 of the whole key, in hexadecimal digits.
    hash: String,
}

/// A key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Whose.
    pub tenant: TenantId,
    /// What its owner calls it; at most 128 bytes, no control characters.
    pub name: String,
    /// When it is made, in Unix seconds.
    pub created: i64,
    /// From when on it is not valid, in Unix seconds.
    pub expires: Option<i64>,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// A file of the data directory.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The file does not say what it should.
    #[error("{} is damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file says something that is not possible.
    #[error("{} is damaged: {what}", file.display())]
    Inconsistent {
        /// The file.
        file: PathBuf,
        /// What it says.
        what: String,
    },
    /// The lock of the file cannot be taken.
    #[error("cannot lock {}", file.display())]
    Lock {
        /// The lock.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are too many.
    #[error("there are {KEYS_MAX} keys already, which is the most")]
    TooMany,
    /// The name cannot be shown or is too long.
    #[error("a key's name has 1 to {NAME_BYTES_MAX} bytes and no control characters")]
    BadName,
    /// There is no such key.
    #[error("there is no key with the id `{0}`; `gateway keys list` shows all")]
    Unknown(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    format: u32,
    keys: Vec<KeyRecord>,
}

/// The keys at one moment.
pub struct KeyRing {
    hashing: hmac::Key,
    records: Vec<KeyRecord>,
    by_id: HashMap<String, usize>,
}

impl KeyRing {
    /// Reads the keys of a data directory; there are none where the file is not there.
    pub fn open(data: &DataDir) -> Result<Self, KeyRingError> {
        let secret = data.secret(SecretName::KeyHash)?;
        let hashing = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let records = read(&path(data))?;
        let mut by_id = HashMap::new();
        for (place, record) in records.iter().enumerate() {
            if by_id.insert(record.id.clone(), place).is_some() {
                return Err(inconsistent(data, format!("key `{}` is in it twice", record.id)));
            }
            if record.tenant.parse::<TenantId>().is_err() || unhex(&record.hash).is_none() {
                return Err(inconsistent(data, format!("key `{}` cannot be read", record.id)));
            }
        }
        Ok(Self { hashing, records, by_id })
    }

    /// Every key, revoked ones included, oldest first.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// Makes a key and keeps its hash. The key itself exists only in what is returned.
    pub fn create(data: &DataDir, new: NewKey) -> Result<ApiKey, KeyRingError> {
        let printable = !new.name.chars().any(char::is_control);
        if !printable || !(1..=NAME_BYTES_MAX).contains(&new.name.len()) {
            return Err(KeyRingError::BadName);
        }
        let _lock = lock(data)?;
        let mut ring = Self::open(data)?;
        if ring.records.len() >= KEYS_MAX {
            return Err(KeyRingError::TooMany);
        }
        let key = std::iter::repeat_with(ApiKey::random)
            .find(|key| !ring.by_id.contains_key(key.id()))
            .expect("a random id is free sooner or later");
        ring.records.push(KeyRecord {
            id: key.id().into(),
            tenant: new.tenant.as_str().into(),
            name: new.name,
            created: new.created,
            expires: new.expires,
            revoked: None,
            hash: hex(ring.hash(&key).as_ref()),
        });
        write(data, ring.records)?;
        Ok(key)
    }

    /// Takes a key back. A running gateway notices within a second. A key that was revoked
    /// before keeps its date.
    pub fn revoke(data: &DataDir, id: &str, now: i64) -> Result<KeyRecord, KeyRingError> {
        let _lock = lock(data)?;
        let mut ring = Self::open(data)?;
        let place = ring.by_id.get(id).ok_or_else(|| KeyRingError::Unknown(shown(id)))?;
        let record = &mut ring.records[*place];
        record.revoked.get_or_insert(now);
        let record = record.clone();
        write(data, ring.records)?;
        Ok(record)
    }

    /// Who holds this key, at a time in Unix seconds.
    pub(super) fn principal(&self, key: &ApiKey, now: i64) -> Result<Principal, AuthError> {
        // hashed and compared even when the id is unknown, so that both take the same time
        let hash = self.hash(key);
        let record = self.by_id.get(key.id()).map(|place| &self.records[*place]);
        let expected = record.and_then(|record| unhex(&record.hash)).unwrap_or([0; 32]);
        let equal = verify_slices_are_equal(hash.as_ref(), &expected).is_ok();
        let record = record.filter(|_| equal).ok_or(AuthError::InvalidKey)?;
        if record.revoked.is_some() {
            return Err(AuthError::RevokedKey);
        }
        if record.expires.is_some_and(|expires| expires <= now) {
            return Err(AuthError::ExpiredKey);
        }
        let tenant = record.tenant.parse().expect("tenants were checked when the file was read");
        Ok(Principal::new(PrincipalKind::ApiKey, tenant, &*record.name, &*record.id))
    }

    fn hash(&self, key: &ApiKey) -> hmac::Tag {
        hmac::sign(&self.hashing, key.expose().as_bytes())
    }
}

/// Where the keys are.
pub(super) fn path(data: &DataDir) -> PathBuf {
    data.keys().join("keys.json")
}

fn read(file: &Path) -> Result<Vec<KeyRecord>, KeyRingError> {
    let Some(text) = read_private(file)? else {
        return Ok(Vec::new());
    };
    let parsed: KeysFile = serde_json::from_slice(&text)
        .map_err(|source| KeyRingError::Damaged { file: file.into(), source })?;
    if parsed.format != 1 {
        let what = format!("its format is {}, and this version reads 1", parsed.format);
        return Err(KeyRingError::Inconsistent { file: file.into(), what });
    }
    Ok(parsed.keys)
}

fn write(data: &DataDir, keys: Vec<KeyRecord>) -> Result<(), KeyRingError> {
    let file = KeysFile { format: 1, keys };
    let mut text = serde_json::to_vec_pretty(&file).expect("records are plain");
    text.push(b'\n');
    Ok(write_private(&path(data), &text, Overwrite::Replace)?)
}

/// Two commands at a time must not lose each other's key.
fn lock(data: &DataDir) -> Result<File, KeyRingError> {
    let file = data.keys().join("keys.lock");
    let failed = |source| KeyRingError::Lock { file: file.clone(), source };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(&file).map_err(failed)?;
    lock.lock().map_err(failed)?;
    Ok(lock)
}

fn inconsistent(data: &DataDir, what: String) -> KeyRingError {
    KeyRingError::Inconsistent { file: path(data), what }
}

/// What is shown of a text that may be a whole key by mistake: never more than an id's length.
fn shown(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    Some(engine_api::ModelDigest::from_hex(text)?.0)
}
