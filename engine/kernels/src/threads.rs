//! The threads that a partition may use.

/// A pool of threads. Kernels called inside [`Threads::install`] split their outputs over it; kernels
/// called outside use the process-wide pool. The results do not depend on it.
pub struct Threads {
    pool: rayon::ThreadPool,
}

/// A pool could not be started.
#[derive(Debug, thiserror::Error)]
#[error("start {threads} kernel threads")]
pub struct ThreadsError {
    threads: usize,
    source: rayon::ThreadPoolBuildError,
}

impl Threads {
    /// Starts `threads` threads (at least one).
    pub fn new(threads: usize) -> Result<Threads, ThreadsError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("kernel-{i}"))
            .build()
            .map_err(|source| ThreadsError { threads, source })?;
        Ok(Threads { pool })
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `forward` on the pool, so that the kernels it calls are split over these threads.
    pub fn install<T: Send>(&self, forward: impl FnOnce() -> T + Send) -> T {
        self.pool.install(forward)
    }
}

/// Runs `part` over consecutive ranges that together are `0..count`, on several threads where the
/// whole is worth it. `cost` is the work of one element, in about a nanosecond.
pub(crate) fn split(count: usize, cost: usize, part: impl Fn(std::ops::Range<usize>) + Sync) {
    use rayon::prelude::*;

    /// Work below which waking another thread costs more than it saves, in nanoseconds.
    const WORTH_A_THREAD: usize = 8_000;
    /// Parts a thread, so that a thread which is held up does not hold up the rest.
    const PARTS_A_THREAD: usize = 4;

    let threads = rayon::current_num_threads();
    let worth = count.saturating_mul(cost) / WORTH_A_THREAD;
    let parts = worth.min(threads * PARTS_A_THREAD).min(count);
    if threads == 1 || parts < 2 {
        return part(0..count);
    }
    (0..parts).into_par_iter().with_max_len(1).for_each(|i| {
        part(count * i / parts..count * (i + 1) / parts);
    });
}
