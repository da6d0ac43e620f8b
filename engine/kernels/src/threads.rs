//! The threads that a partition may use.

mod pool;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use pool::Pool;

/// A pool of threads. Kernels called inside [`Threads::install`] split their outputs over it; kernels
/// called outside run on their caller's thread alone. The results do not depend on it.
///
/// A thread without work spins for a moment and then sleeps: between the products of a step nobody has
/// to be woken, and an idle partition takes no time.
pub struct Threads {
    pool: Arc<Pool>,
    workers: Vec<JoinHandle<()>>,
}

/// A pool could not be started.
#[derive(Debug, thiserror::Error)]
#[error("start {threads} kernel threads")]
pub struct ThreadsError {
    threads: usize,
    source: std::io::Error,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

impl Threads {
    /// A pool of `threads` (at least one); the caller of [`Threads::install`] is one of them.
    pub fn new(threads: usize) -> Result<Threads, ThreadsError> {
        let threads = threads.max(1);
        let mut pool = Threads { pool: Arc::new(Pool::new(threads - 1)), workers: Vec::new() };
        for number in 1..threads {
            let shared = pool.pool.clone();
            let worker = std::thread::Builder::new()
                .name(format!("kernel-{number}"))
                .spawn(move || shared.work(number - 1))
                .map_err(|source| ThreadsError { threads, source })?;
            pool.pool.know(number - 1, worker.thread().clone());
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.pool.threads()
    }

    /// Runs `forward` on this thread; the kernels that it calls are split over the pool.
    pub fn install<T>(&self, forward: impl FnOnce() -> T) -> T {
        struct Before(Option<Arc<Pool>>);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.replace(self.0.take());
            }
        }
        let _before = Before(CURRENT.replace(Some(self.pool.clone())));
        forward()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.pool.stop();
        for worker in self.workers.drain(..) {
            // what it panicked of was passed on to who gave it the work
            drop(worker.join());
        }
    }
}

/// Work below which another thread costs more than it saves, in nanoseconds.
const WORTH_A_THREAD: usize = 2_500;
/// Parts a thread up to which parts are of one size.
const EVEN_PARTS: usize = 4;

/// Runs `part` over consecutive ranges that together are `0..count`, on several threads where the
/// whole is worth it. `cost` is the work of one element, in about a nanosecond.
pub(crate) fn split(count: usize, cost: usize, part: impl Fn(Range<usize>) + Sync) {
    let pool = CURRENT.with_borrow(|pool| pool.clone());
    let threads = pool.as_ref().map_or(1, |pool| pool.threads());
    let worth = (count.saturating_mul(cost) / WORTH_A_THREAD).min(count);
    match pool {
        Some(pool) if threads > 1 && worth > 1 => {
            let cut = Cut::new(count, cost, worth, threads);
            pool.run(cut.parts, &|i| part(cut.part(i)));
        }
        _ => part(0..count),
    }
}

/// How work is cut into parts.
///
/// Much work is cut into parts that become smaller, each a share of what is left: large ones first, so
/// that what a part fetches serves long, small ones last, so that no thread waits long for another that
/// began late or was held up (guided self-scheduling, Polychronopoulos and Kuck, 1987).
#[derive(Clone, Copy)]
struct Cut {
    count: usize,
    parts: usize,
    /// The smallest part and what share of the rest a part is; `None` for parts of one size.
    shrinking: Option<(usize, usize)>,
}

impl Cut {
    fn new(count: usize, cost: usize, worth: usize, threads: usize) -> Cut {
        if worth < threads * EVEN_PARTS {
            return Cut { count, parts: worth, shrinking: None };
        }
        let least = WORTH_A_THREAD.div_ceil(cost.max(1)).min(count);
        let mut cut = Cut { count, parts: 0, shrinking: Some((least, 2 * threads)) };
        while cut.part(cut.parts).start < count {
            cut.parts += 1;
        }
        cut
    }

    /// Part `i`; empty after the last.
    fn part(&self, i: usize) -> Range<usize> {
        let Some((least, share)) = self.shrinking else {
            return self.count * i / self.parts..self.count * (i + 1) / self.parts;
        };
        let mut part = 0..0;
        for _ in 0..=i {
            let left = self.count - part.end;
            part = part.end..part.end + left.div_ceil(share).max(least).min(left);
        }
        part
    }
}

/// The same over the rows of `out`, each of `width` elements (the last may be shorter): a part has its
/// rows for itself.
pub(crate) fn split_rows<T: Send>(
    out: &mut [T],
    width: usize,
    cost: usize,
    part: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    struct Start<T>(*mut T);
    // SAFETY: the parts that are made of it below do not overlap, and `T` may be sent.
    #[allow(unsafe_code)]
    unsafe impl<T: Send> Sync for Start<T> {}
    impl<T> Start<T> {
        fn at(&self, offset: usize) -> *mut T {
            self.0.wrapping_add(offset)
        }
    }

    assert!(width > 0);
    let (start, all) = (Start(out.as_mut_ptr()), out.len());
    split(all.div_ceil(width), cost, |rows| {
        let from = rows.start * width;
        let length = all.min(rows.end * width) - from;
        // SAFETY: `split` gives every row to one part, all lie inside `out`, and `out` is borrowed
        // until all parts are done.
        #[allow(unsafe_code)]
        let mine = unsafe { std::slice::from_raw_parts_mut(start.at(from), length) };
        part(rows, mine);
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn parts_are_all_and_become_smaller() {
        for (count, cost, threads) in [(36, 39_000, 2), (9, 400_000, 8), (3072, 100, 3), (8, 1, 2)]
        {
            let worth = (count * cost / WORTH_A_THREAD).min(count);
            let cut = Cut::new(count, cost, worth, threads);
            let parts: Vec<_> = (0..cut.parts).map(|i| cut.part(i)).collect();
            assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
            let Some(last) = parts.last() else { continue };
            assert_eq!((parts[0].start, last.end), (0, count));
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert!(cut.shrinking.is_none() || parts[0].len() >= last.len());
        }
        let cut = Cut::new(36, 39_000, 36, 2);
        let sizes: Vec<_> = (0..cut.parts).map(|i| cut.part(i).len()).collect();
        assert_eq!(sizes, [9, 7, 5, 4, 3, 2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn every_element_is_computed_once() {
        for threads in [1, 2, 5] {
            let pool = Threads::new(threads).unwrap();
            assert_eq!(pool.count(), threads);
            for count in [0, 1, 2, 3, 100, 1001] {
                let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                for round in 1..=200 {
                    pool.install(|| {
                        split(count, WORTH_A_THREAD, |range| {
                            for i in range {
                                seen[i].fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    });
                    assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == round));
                }
            }
        }
    }

    #[test]
    fn rows_are_written_by_their_parts() {
        let pool = Threads::new(3).unwrap();
        let mut out = vec![0; 7 * 100];
        pool.install(|| {
            split_rows(&mut out, 7, WORTH_A_THREAD, |rows, mine| {
                for (row, mine) in rows.zip(mine.chunks_exact_mut(7)) {
                    mine.fill(row);
                }
            });
        });
        assert!(out.chunks_exact(7).enumerate().all(|(row, out)| out == [row; 7]));
    }

    /// For a sanitizer: plain memory goes to the parts and comes back.
    #[test]
    fn plain_memory_is_handed_over() {
        let pool = Threads::new(4).unwrap();
        let mut out = vec![0; 16 * 16];
        for round in 0..2000 {
            out.fill(round);
            pool.install(|| {
                split_rows(&mut out, 16, WORTH_A_THREAD, |rows, mine| {
                    for (row, mine) in rows.zip(mine.chunks_exact_mut(16)) {
                        mine.iter_mut().for_each(|x| *x += row);
                    }
                });
            });
            for (row, out) in out.chunks_exact(16).enumerate() {
                assert!(out.iter().all(|x| *x == round + row));
            }
        }
    }

    #[test]
    fn threads_that_sleep_are_woken() {
        let pool = Threads::new(3).unwrap();
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let sum = AtomicUsize::new(0);
            pool.install(|| {
                split(64, WORTH_A_THREAD, |range| {
                    sum.fetch_add(range.sum(), Ordering::Relaxed);
                });
            });
            assert_eq!(sum.into_inner(), 63 * 64 / 2);
        }
    }

    #[test]
    fn work_inside_work_runs_where_it_is() {
        let pool = Threads::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        pool.install(|| {
            split(8, WORTH_A_THREAD, |outer| {
                for _ in outer {
                    split(8, WORTH_A_THREAD, |inner| {
                        sum.fetch_add(inner.len(), Ordering::Relaxed);
                    });
                }
            });
        });
        assert_eq!(sum.into_inner(), 64);
    }

    #[test]
    fn two_callers_share_a_pool() {
        let pool = Threads::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.install(|| {
                            split(16, WORTH_A_THREAD, |range| {
                                sum.fetch_add(range.len(), Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 500 * 16);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Threads::new(3).unwrap();
        for bad in 0..12 {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.install(|| {
                    split(12, WORTH_A_THREAD, |range| {
                        assert!(!range.contains(&bad), "element {bad}");
                    });
                });
            }));
            assert!(caught.is_err());
            let sum = AtomicUsize::new(0);
            pool.install(|| {
                split(12, WORTH_A_THREAD, |range| {
                    sum.fetch_add(range.len(), Ordering::Relaxed);
                });
            });
            assert_eq!(sum.into_inner(), 12);
        }
    }
}
