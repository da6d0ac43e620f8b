//! Threads that take the parts of one job at a time.
//!
//! A job is behind a *gate*: one word that says which job it is, whether it is open, and how many
//! threads are inside.
//!
//! ```text
//! bits  63 .. 17    16      15 .. 0
//!       number    is open   threads inside
//! ```
//!
//! Who has a job writes it while the gate is closed and nobody is inside, opens the gate, takes parts
//! like everyone else until none is left, closes the gate, and waits until the last one is outside. A
//! thread that comes too late finds the gate closed: nobody ever waits for a thread that has not begun.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::Thread;
use std::time::{Duration, Instant};

const IS_OPEN: u64 = 1 << 16;
const NUMBER_SHIFT: u32 = 17;

/// How long a thread without work spins before it sleeps: longer than what lies between two products.
/// It never yields: where others want the core, a thread that yields gives away a whole time slice.
const SPIN: Duration = Duration::from_micros(50);

/// A word on a cache line of its own.
#[repr(align(128))]
struct Apart<T>(T);

pub(super) struct Pool {
    gate: Apart<AtomicU64>,
    /// The next part that nobody has taken.
    next: Apart<AtomicUsize>,
    /// Written by who holds `busy`, while the gate is closed and nobody is inside.
    job: UnsafeCell<Job>,
    /// Whether somebody has a job here.
    busy: AtomicBool,
    panicked: AtomicBool,
    stopping: AtomicBool,
    sleepers: Vec<Sleeper>,
}

#[derive(Clone, Copy)]
struct Job {
    /// Lives until the gate is closed and nobody is inside; `None` before the first job.
    part: Option<&'static (dyn Fn(usize) + Sync)>,
    parts: usize,
}

#[derive(Default)]
struct Sleeper {
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
}

// SAFETY: the one field that is not Sync is `job`; it is written only as its comment says, which
// `run` sees to, and read only from inside the gate.
unsafe impl Sync for Pool {}
// SAFETY: what the job refers to is Sync.
unsafe impl Send for Pool {}

impl Pool {
    /// For `workers` threads beside the caller's.
    pub(super) fn new(workers: usize) -> Pool {
        assert!(workers < IS_OPEN as usize - 1);
        Pool {
            gate: Apart(AtomicU64::new(0)),
            next: Apart(AtomicUsize::new(0)),
            job: UnsafeCell::new(Job { part: None, parts: 0 }),
            busy: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            sleepers: (0..workers).map(|_| Sleeper::default()).collect(),
        }
    }

    /// The caller's thread counts.
    pub(super) fn threads(&self) -> usize {
        self.sleepers.len() + 1
    }

    /// Tells who is to be woken as worker `index`.
    pub(super) fn know(&self, index: usize, thread: Thread) {
        // a worker is told of once
        drop(self.sleepers[index].thread.set(thread));
    }

    /// Ends the workers once they are outside.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake(self.sleepers.len());
    }

    /// Runs `part` for each of `0..parts`. Where another job is running, all on this thread.
    ///
    /// # Panics
    /// If a part does.
    pub(super) fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) {
        if self.busy.swap(true, Ordering::Acquire) {
            return (0..parts).for_each(part);
        }
        let open = Open(self);
        // SAFETY: only the lifetime changes. `open` ends, also in a panic, only when the gate is closed
        // and nobody is inside, and `part` outlives it.
        let lasting = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(part)
        };
        // SAFETY: `busy` is ours, the gate is closed and nobody is inside: `Open` saw to it last time.
        unsafe { *self.job.get() = Job { part: Some(lasting), parts } };
        self.next.0.store(0, Ordering::Relaxed);
        let number = (self.gate.0.load(Ordering::Relaxed) >> NUMBER_SHIFT) + 1;
        self.gate.0.store(number << NUMBER_SHIFT | IS_OPEN, Ordering::SeqCst);
        self.wake(parts - 1);
        self.take_parts(parts, part);
        drop(open);
        assert!(!self.panicked.swap(false, Ordering::Relaxed), "a kernel panicked on its thread");
    }

    /// What worker `index` does all its life.
    pub(super) fn work(&self, index: usize) {
        let mut last = 0;
        while !self.stopping.load(Ordering::SeqCst) {
            let Some(gate) = self.wait(last, index) else { continue };
            let inside = gate + 1;
            let entered =
                self.gate.0.compare_exchange(gate, inside, Ordering::Acquire, Ordering::Relaxed);
            if entered.is_err() {
                continue;
            }
            last = gate >> NUMBER_SHIFT;
            // SAFETY: we are inside the gate, which keeps the job as it is.
            let Job { part, parts } = unsafe { *self.job.get() };
            let part = part.expect("an open gate has a job");
            if catch_unwind(AssertUnwindSafe(|| self.take_parts(parts, part))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.gate.0.fetch_sub(1, Ordering::Release);
        }
    }

    fn take_parts(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) {
        loop {
            let next = self.next.0.fetch_add(1, Ordering::Relaxed);
            if next >= parts {
                return;
            }
            part(next);
        }
    }

    /// The gate, once a job other than `last` is behind it; `None` for no reason.
    fn wait(&self, last: u64, index: usize) -> Option<u64> {
        let ready = || {
            let gate = self.gate.0.load(Ordering::SeqCst);
            (gate & IS_OPEN != 0 && gate >> NUMBER_SHIFT != last).then_some(gate)
        };
        let begun = Instant::now();
        loop {
            for _ in 0..32 {
                if let Some(gate) = ready() {
                    return Some(gate);
                }
                std::hint::spin_loop();
            }
            if begun.elapsed() > SPIN {
                break;
            }
        }
        let sleeper = &self.sleepers[index];
        sleeper.sleeps.store(true, Ordering::SeqCst);
        // either we see the gate that was opened, or who opened it sees that we sleep
        fence(Ordering::SeqCst);
        if ready().is_none() && !self.stopping.load(Ordering::SeqCst) {
            std::thread::park();
        }
        sleeper.sleeps.store(false, Ordering::SeqCst);
        ready()
    }

    /// Wakes up to `count` of those that sleep.
    fn wake(&self, count: usize) {
        fence(Ordering::SeqCst);
        let sleeping = |sleeper: &&Sleeper| {
            sleeper.sleeps.load(Ordering::Relaxed) && sleeper.sleeps.swap(false, Ordering::SeqCst)
        };
        for sleeper in self.sleepers.iter().filter(sleeping).take(count) {
            if let Some(thread) = sleeper.thread.get() {
                thread.unpark();
            }
        }
    }
}

/// A job whose gate is open, or about to be.
struct Open<'a>(&'a Pool);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let pool = self.0;
        pool.gate.0.fetch_and(!IS_OPEN, Ordering::Relaxed);
        let begun = Instant::now();
        // what a thread inside has written is seen from here on
        while pool.gate.0.load(Ordering::Acquire) & (IS_OPEN - 1) != 0 {
            match begun.elapsed() {
                past if past < SPIN => std::hint::spin_loop(),
                // who is inside has lost its core, perhaps to us
                _ => std::thread::park_timeout(SPIN),
            }
        }
        pool.busy.store(false, Ordering::Release);
    }
}
