//! Entries and stores for the tests.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use audit::{
    Attempt, Decision, Deny, Digest, Directory, Durations, Ending, Entry, Log, LogOptions, Outcome,
    Parameters, Principal, PrincipalKind, Recorded, SegmentId, Started, Store, StoreError,
    Terminal, Timestamp, Usage, Zone,
};

pub fn time() -> Timestamp {
    Timestamp::from_unix_ms(1_795_512_600_007)
}

pub fn started() -> Entry {
    Entry::Started(Started {
        time: time(),
        version: "0.1.0".into(),
        instance: "0123456789abcdef".into(),
        cut_bytes: 0,
        unfinished: 0,
    })
}

pub fn permit(request: &str) -> Entry {
    decision(request, Outcome::Permit)
}

pub fn denial(request: &str) -> Entry {
    let (reason, rule) = ("residency_violation".into(), "residency".into());
    decision(request, Outcome::Deny(Deny { reason, rule, detail: "permitted DE".into() }))
}

fn decision(request: &str, outcome: Outcome) -> Entry {
    let (zone, jurisdiction) = ("eu-de-1".into(), "DE".into());
    Entry::Decision(Box::new(Decision {
        time: time(),
        request: request.into(),
        tenant: "development".into(),
        principal: Principal {
            kind: PrincipalKind::ApiKey,
            subject: "development".into(),
            key: Some("0123abcd".into()),
        },
        endpoint: "/v1/chat/completions".into(),
        model: "smollm2-135m-instruct".into(),
        model_digest: Some(Digest([0x5a; 32])),
        candidates: vec![Zone { zone, jurisdiction }],
        narrowed: None,
        permitted: vec!["eu-de-1".into()],
        outcome,
        rules: vec!["tenant-known".into(), "residency".into()],
        policies: Digest([0xc3; 32]),
        parameters: Some(Parameters {
            temperature: 0.7,
            top_p: 1.0,
            seed: u64::MAX,
            frequency_penalty: 0.0,
            presence_penalty: -0.1,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            logit_bias: 0,
            max_tokens: 256,
            min_tokens: 0,
            stop: 1,
            stop_tokens: None,
            ignore_eos: false,
            choices: 1,
            logprobs: None,
            stream: true,
            demanded: None,
        }),
        prompt_tokens: Some(31),
        embedding: None,
    }))
}

pub fn terminal(request: &str, decision: u64) -> Entry {
    Entry::Terminal(Box::new(Terminal {
        time: time(),
        request: request.into(),
        decision,
        outcome: Ending::Completed,
        attempts: vec![Attempt {
            partition: "cpu-0".into(),
            zone: "eu-de-1".into(),
            epoch: 1,
            numerics: "cpu-v1-f16".into(),
            model_digest: Digest([0x5a; 32]),
        }],
        usage: Some(Usage { prompt_tokens: 31, completion_tokens: 12, cached_tokens: 0 }),
        finish_reasons: vec!["stop".into()],
        error: None,
        durations: Durations {
            dispatched_ms: Some(1),
            first_token_ms: Some(40),
            total_ms: Some(310),
        },
        tool_calls: Vec::new(),
    }))
}

/// A log of `requests` permitted and ended requests: `2 * requests` entries.
pub fn write_log(dir: &Path, requests: usize, options: LogOptions) -> Vec<Recorded> {
    let log = Log::open(dir, options).unwrap();
    let mut all = Vec::new();
    for number in 0..requests {
        let request = format!("req-{number}");
        let recorded = log.append(permit(&request)).wait().unwrap();
        all.push(recorded.clone());
        all.push(log.append(terminal(&request, recorded.index())).wait().unwrap());
    }
    log.close();
    all
}

/// What a [`FaultyStore`] does at its next calls.
#[derive(Default)]
pub struct Faults {
    pub appends: AtomicU64,
    pub flushes: AtomicU64,
    pub truncations: AtomicU64,
    pub next: Mutex<Vec<Fault>>,
    gate: Mutex<bool>,
    opened: Condvar,
}

/// One fault, used up by the call that it hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Creating a segment finds no space.
    CreateFull,
    /// Creating a segment breaks.
    CreateBroken,
    /// An append stops after this many bytes, because the disk is full.
    AppendFull(usize),
    /// An append breaks after this many bytes.
    AppendBroken(usize),
    /// A flush fails.
    Flush,
    /// A truncation fails.
    Truncate,
}

impl Faults {
    pub fn set(&self, faults: &[Fault]) {
        *self.next.lock().unwrap() = faults.to_vec();
    }

    fn take<T>(&self, hit: impl Fn(Fault) -> Option<T>) -> Option<T> {
        let mut next = self.next.lock().unwrap();
        let first = *next.first()?;
        let hit = hit(first)?;
        next.remove(0);
        Some(hit)
    }

    /// Makes flushes wait until [`Self::open_gate`].
    pub fn close_gate(&self) {
        *self.gate.lock().unwrap() = true;
    }

    pub fn open_gate(&self) {
        *self.gate.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass_gate(&self) {
        let closed = self.gate.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }
}

/// A directory with faults, which counts what reaches it.
pub struct FaultyStore {
    directory: Directory,
    faults: Arc<Faults>,
}

pub fn broken(operation: &'static str) -> StoreError {
    StoreError::Broken { operation, source: std::io::Error::other("injected") }
}

pub fn full() -> StoreError {
    StoreError::Full(std::io::ErrorKind::StorageFull.into())
}

impl Store for FaultyStore {
    fn create(&mut self, segment: SegmentId) -> Result<(), StoreError> {
        if self.faults.take(|fault| (fault == Fault::CreateFull).then_some(())).is_some() {
            return Err(full());
        }
        if self.faults.take(|fault| (fault == Fault::CreateBroken).then_some(())).is_some() {
            return Err(broken("creating a segment"));
        }
        self.directory.create(segment)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.faults.appends.fetch_add(1, Ordering::Relaxed);
        let hit = self.faults.take(|fault| match fault {
            Fault::AppendFull(count) => Some((count, full())),
            Fault::AppendBroken(count) => Some((count, broken("writing"))),
            _ => None,
        });
        if let Some((count, error)) = hit {
            self.directory.append(&bytes[..count.min(bytes.len())])?;
            return Err(error);
        }
        self.directory.append(bytes)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.faults.pass_gate();
        self.faults.flushes.fetch_add(1, Ordering::Relaxed);
        if self.faults.take(|fault| (fault == Fault::Flush).then_some(())).is_some() {
            return Err(broken("flushing"));
        }
        self.directory.flush()
    }

    fn truncate(&mut self, length: u64) -> Result<(), StoreError> {
        self.faults.truncations.fetch_add(1, Ordering::Relaxed);
        if self.faults.take(|fault| (fault == Fault::Truncate).then_some(())).is_some() {
            return Err(broken("cutting"));
        }
        self.directory.truncate(length)
    }
}

pub fn open_faulty(dir: &Path, options: LogOptions) -> (Log, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let given = faults.clone();
    let log = Log::open_with(dir, options, |dir| {
        Ok(FaultyStore { directory: Directory::open(dir)?, faults: given })
    });
    (log.unwrap(), faults)
}

/// A directory that never flushes: for tests that open a log thousands of times and ask what
/// is in the files, not what would survive.
pub struct Unflushed {
    path: std::path::PathBuf,
    newest: Option<std::fs::File>,
}

impl Unflushed {
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut names: Vec<_> =
            std::fs::read_dir(path)?.map(|entry| entry.unwrap().path()).collect();
        names.retain(|name| name.extension().is_some_and(|extension| extension == "jsonl"));
        names.sort();
        let newest = names.last().map(|name| Self::file(name));
        Ok(Self { path: path.into(), newest })
    }

    fn file(name: &Path) -> std::fs::File {
        std::fs::OpenOptions::new().append(true).create(true).open(name).unwrap()
    }
}

impl Store for Unflushed {
    fn create(&mut self, segment: SegmentId) -> Result<(), StoreError> {
        self.newest = Some(Self::file(&segment.path(&self.path)));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        std::io::Write::write_all(self.newest.as_mut().unwrap(), bytes).unwrap();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> Result<(), StoreError> {
        self.newest.as_ref().unwrap().set_len(length).unwrap();
        Ok(())
    }
}
