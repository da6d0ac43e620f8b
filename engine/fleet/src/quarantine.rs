//! Requests that killed workers are not tried again for a while, when a client sends them
//! once more.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use engine_api::{EmbeddingSubmission, Submission};
use tokio::time::Instant;

/// Entries at most; the oldest goes first.
const ENTRIES_MAX: usize = 1024;

/// A short, forgetful memory of bad prompts. A tenant can quarantine only its own.
pub(crate) struct Quarantine {
    /// Keyed afresh in each process, so that nobody can look for two prompts of one hash.
    hasher: RandomState,
    lasts: Duration,
    entries: Mutex<VecDeque<(u64, Instant)>>,
}

impl Quarantine {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self { hasher: RandomState::new(), lasts, entries: Mutex::default() }
    }

    /// Remembers a request.
    pub(crate) fn add(&self, submission: &Submission) {
        self.remember(self.hash(submission));
    }

    /// Remembers a request for vectors.
    pub(crate) fn add_inputs(&self, submission: &EmbeddingSubmission) {
        self.remember(self.hash_inputs(submission));
    }

    fn remember(&self, hash: u64) {
        let entry = (hash, Instant::now());
        let mut entries = self.current();
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// Whether a request is remembered.
    pub(crate) fn has(&self, submission: &Submission) -> bool {
        self.knows(|| self.hash(submission))
    }

    /// Whether a request for vectors is remembered.
    pub(crate) fn has_inputs(&self, submission: &EmbeddingSubmission) -> bool {
        self.knows(|| self.hash_inputs(submission))
    }

    fn knows(&self, hash: impl FnOnce() -> u64) -> bool {
        let entries = self.current();
        if entries.is_empty() {
            return false;
        }
        let hash = hash();
        entries.iter().any(|(entry, _)| *entry == hash)
    }

    /// The entries, without those that are over.
    fn current(&self) -> MutexGuard<'_, VecDeque<(u64, Instant)>> {
        let mut entries = self.entries.lock().expect("no one panics while holding the entries");
        while entries.front().is_some_and(|(_, since)| since.elapsed() > self.lasts) {
            entries.pop_front();
        }
        entries
    }

    /// Of the prompt and whose it is. Not of the seed: a gateway draws another one each time.
    fn hash(&self, submission: &Submission) -> u64 {
        let prompt = &submission.prompt;
        self.hasher.hash_one((submission.namespace, prompt.model_digest, &prompt.ids))
    }

    /// The same of inputs; whose they are says the key of their share.
    fn hash_inputs(&self, submission: &EmbeddingSubmission) -> u64 {
        let inputs = &submission.inputs;
        self.hasher.hash_one((submission.share.key, inputs.model_digest, &inputs.inputs))
    }
}

#[cfg(test)]
mod tests {
    use engine_api::{CacheNamespace, Seed};

    use super::*;
    use crate::testing::submission;

    #[tokio::test(start_paused = true)]
    async fn a_prompt_is_remembered_for_its_tenant_and_forgotten_in_time() {
        let quarantine = Quarantine::new(Duration::from_secs(60));
        let bad = submission(&["a"]);
        quarantine.add(&bad);
        let mut again = submission(&["b"]);
        again.sampling.seed = Seed(9);
        assert!(quarantine.has(&again));
        again.namespace = CacheNamespace([5; 16]);
        assert!(!quarantine.has(&again), "another tenant asks the same");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!quarantine.has(&bad));
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let quarantine = Quarantine::new(Duration::from_secs(60));
        for number in 0..ENTRIES_MAX as u32 + 10 {
            let mut bad = submission(&["a"]);
            bad.prompt.ids = vec![engine_api::TokenId(number)].into();
            quarantine.add(&bad);
        }
        assert_eq!(quarantine.current().len(), ENTRIES_MAX);
    }
}
