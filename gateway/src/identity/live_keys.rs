//! Keys that follow their file, so that a revoked key stops working without a restart.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::key_ring::{self, KeyRing, KeyRingError};
use crate::data_dir::DataDir;

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct LiveKeys {
    data: DataDir,
    ring: ArcSwap<KeyRing>,
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    version: Option<Version>,
}

/// Tells two versions of the file apart. Files are replaced whole, so the inode changes.
type Version = (u64, i64, i64, u64);

impl LiveKeys {
    pub fn open(data: DataDir) -> Result<Self, KeyRingError> {
        // looked at before it is read: a change in between is then seen at the next look
        let version = version(&data);
        let ring = ArcSwap::from_pointee(KeyRing::open(&data)?);
        Ok(Self { data, ring, looked: Mutex::new(Looked { at: Instant::now(), version }) })
    }

    /// The keys as they were at most a second ago.
    pub fn ring(&self) -> Arc<KeyRing> {
        // whoever finds the lock taken goes on with what is there
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.at.elapsed() >= LOOK_EVERY
        {
            looked.at = Instant::now();
            self.look(&mut looked);
        }
        self.ring.load_full()
    }

    fn look(&self, looked: &mut Looked) {
        let version = version(&self.data);
        if version == looked.version {
            return;
        }
        match KeyRing::open(&self.data) {
            Ok(ring) => {
                tracing::info!(keys = ring.records().len(), "the API keys were read again");
                self.ring.store(Arc::new(ring));
                looked.version = version;
            }
            // the keys that were good stay, and the file is tried again at the next look
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the API keys cannot be read again"
            ),
        }
    }

    #[cfg(test)]
    pub(super) fn look_now(&self) {
        self.look(&mut self.looked.lock().expect("no test panics while it looks"));
    }
}

fn version(data: &DataDir) -> Option<Version> {
    let metadata = fs::metadata(key_ring::path(data)).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}
