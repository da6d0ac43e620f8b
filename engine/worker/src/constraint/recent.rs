//! The grammars that were used last.

use std::collections::HashMap;

use engine_api::CacheNamespace;

/// Grammars at most.
const COUNT_MAX: usize = 128;
/// Grammars of one namespace at most, so that one tenant cannot displace all others.
const OWN_MAX: usize = 32;

/// Who asks, and the text of a grammar.
pub(super) type Key = (CacheNamespace, Box<str>);

/// A bounded memory of values by grammar. Those of one namespace are not found from another: how
/// long a request takes does not say what others ask for.
pub(super) struct Recent<T> {
    entries: HashMap<Key, Entry<T>>,
    bytes_max: usize,
    bytes: usize,
    uses: u64,
}

struct Entry<T> {
    value: T,
    bytes: usize,
    used: u64,
}

impl<T: Clone> Recent<T> {
    /// Remembers nothing yet, and never more than so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), bytes_max, bytes: 0, uses: 0 }
    }

    /// What is remembered of a grammar.
    pub(super) fn find(&mut self, key: &Key) -> Option<T> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    /// Remembers a value of about so many bytes, and forgets what was not used for longest.
    pub(super) fn keep(&mut self, key: Key, value: T, bytes: usize) {
        let bytes = bytes + key.1.len();
        if bytes > self.bytes_max {
            return;
        }
        self.forget(&key);
        let own = |other: &Key| other.0 == key.0;
        if self.entries.keys().filter(|other| own(other)).count() >= OWN_MAX {
            self.forget_oldest(own);
        }
        while self.entries.len() >= COUNT_MAX || self.bytes + bytes > self.bytes_max {
            self.forget_oldest(|_| true);
        }
        self.uses += 1;
        self.bytes += bytes;
        self.entries.insert(key, Entry { value, bytes, used: self.uses });
    }

    fn forget_oldest(&mut self, which: impl Fn(&Key) -> bool) {
        let entries = self.entries.iter().filter(|(key, _)| which(key));
        let oldest = entries.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
        self.forget(&oldest.expect("something is remembered where there is too much"));
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: u8, number: usize) -> Key {
        (CacheNamespace([tenant; 16]), format!("{number:04}").into())
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut recent = Recent::new(1 << 20);
        for number in 0..OWN_MAX {
            recent.keep(key(1, number), number, 10);
        }
        assert_eq!(recent.find(&key(1, 0)), Some(0));
        recent.keep(key(1, 99), 99, 10);
        assert_eq!(recent.find(&key(1, 0)), Some(0));
        assert_eq!(recent.find(&key(1, 1)), None);
        assert_eq!(recent.find(&key(2, 0)), None, "another tenant's");
        recent.keep(key(2, 0), 7, 10);
        assert_eq!(recent.find(&key(1, 0)), Some(0), "a tenant displaces its own first");
        for number in 0..5 * COUNT_MAX {
            recent.keep(key(number as u8, number), number, 10);
        }
        assert!(recent.entries.len() <= COUNT_MAX);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent = Recent::new(100);
        recent.keep(key(1, 1), 1, 200);
        assert_eq!(recent.find(&key(1, 1)), None, "larger than all of it");
        recent.keep(key(1, 1), 1, 40);
        recent.keep(key(1, 1), 2, 40);
        assert_eq!((recent.find(&key(1, 1)), recent.bytes), (Some(2), 44));
        recent.keep(key(1, 2), 3, 40);
        recent.keep(key(1, 3), 4, 40);
        assert_eq!(recent.find(&key(1, 1)), None);
        assert_eq!((recent.find(&key(1, 3)), recent.bytes), (Some(4), 88));
    }
}
