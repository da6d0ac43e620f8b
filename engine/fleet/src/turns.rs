//! Ids that answers were drawn as, found again by what they follow and what they say.
//!
//! The next turn of a conversation comes back as text, and tokenizing it may give other ids than
//! those that were drawn: then a worker's cached blocks are of no use from there on. So for an
//! answer whose ids are not those of its text, the ids are kept here, and the next prompt takes
//! them. Each entry is one stretch of text up to a control token; its key is a hash of the whole
//! conversation up to there (see [`Trail`]), so an entry serves nothing but the continuation of
//! the conversation that it was drawn in. A prompt needs no entry: its stretches are found under
//! the same keys again, or have the ids of their text.
//!
//! Whoever asks names a cache namespace, and only that one's entries are seen. A namespace loses
//! entries to others only where it holds the most bytes of all, so what is found tells a tenant
//! nothing of the others as long as it uses less than its even share.

mod trail;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use engine_api::{CacheNamespace, TokenId};

pub(crate) use trail::{Key, Trail};

/// Tables' part in an entry, in bytes.
const ENTRY_BYTES: usize = 256;
/// One namespace holds at most this part of all bytes.
const NAMESPACE_PART: usize = 4;

/// The entries of all namespaces.
#[derive(Debug)]
pub(crate) struct Turns {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spaces: HashMap<CacheNamespace, Space>,
    bytes: usize,
    /// Counts uses; the entry with the lowest goes first.
    clock: u64,
}

/// What one namespace has.
#[derive(Debug, Default)]
struct Space {
    entries: HashMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    ids: Arc<[TokenId]>,
    used: u64,
}

impl Turns {
    /// `bytes_max` bounds ids and tables together.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// Whether the namespace has any entry.
    pub(crate) fn has(&self, namespace: CacheNamespace) -> bool {
        self.lock().spaces.contains_key(&namespace)
    }

    /// The ids under each key.
    pub(crate) fn find(
        &self,
        namespace: CacheNamespace,
        keys: impl Iterator<Item = Key>,
    ) -> Vec<Option<Arc<[TokenId]>>> {
        let state = &mut *self.lock();
        let Some(space) = state.spaces.get_mut(&namespace) else {
            return keys.map(|_| None).collect();
        };
        keys.map(|key| {
            state.clock += 1;
            space.touch(&key, state.clock)
        })
        .collect()
    }

    /// Keeps ids, and forgets what was used longest ago where there is no room.
    pub(crate) fn add(&self, namespace: CacheNamespace, key: Key, ids: Arc<[TokenId]>) {
        let share = self.bytes_max / NAMESPACE_PART;
        if cost(&ids) > share {
            return;
        }
        let state = &mut *self.lock();
        state.clock += 1;
        let space = state.spaces.entry(namespace).or_default();
        state.bytes -= space.bytes;
        space.insert(key, ids, state.clock);
        while space.bytes > share {
            space.forget_oldest();
        }
        state.bytes += space.bytes;
        while state.bytes > self.bytes_max {
            state.shrink_largest();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding the turns")
    }
}

impl State {
    /// Takes one entry from the namespace that has the most.
    fn shrink_largest(&mut self) {
        let largest = self.spaces.iter_mut().max_by_key(|(_, space)| space.bytes);
        let (namespace, space) = largest.expect("bytes are of entries");
        self.bytes -= space.bytes;
        space.forget_oldest();
        self.bytes += space.bytes;
        if space.entries.is_empty() {
            let namespace = *namespace;
            self.spaces.remove(&namespace);
        }
    }
}

impl Space {
    fn touch(&mut self, key: &Key, now: u64) -> Option<Arc<[TokenId]>> {
        let entry = self.entries.get_mut(key)?;
        self.by_use.remove(&std::mem::replace(&mut entry.used, now));
        self.by_use.insert(now, *key);
        Some(entry.ids.clone())
    }

    fn insert(&mut self, key: Key, ids: Arc<[TokenId]>, now: u64) {
        self.bytes += cost(&ids);
        self.by_use.insert(now, key);
        if let Some(before) = self.entries.insert(key, Entry { ids, used: now }) {
            self.bytes -= cost(&before.ids);
            self.by_use.remove(&before.used);
        }
    }

    fn forget_oldest(&mut self) {
        let (_, key) = self.by_use.pop_first().expect("bytes are of entries");
        let entry = self.entries.remove(&key).expect("every use is of an entry");
        self.bytes -= cost(&entry.ids);
    }
}

fn cost(ids: &[TokenId]) -> usize {
    ENTRY_BYTES + size_of_val(ids)
}

#[cfg(test)]
mod tests;
