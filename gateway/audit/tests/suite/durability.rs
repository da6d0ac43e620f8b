//! What is acknowledged survives; what cannot be made durable is refused.

use std::sync::atomic::Ordering;

use crate::fixtures::{
    Fault, Unflushed, denial, open_faulty, permit, started, terminal, write_log,
};
use audit::{AppendError, Appending, Log, LogError, LogOptions, Status, Terminal, verify};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn small_segments() -> LogOptions {
    LogOptions { segment_bytes_max: 4000, ..LogOptions::default() }
}

#[test]
fn a_log_goes_on_where_it_ended() {
    let dir = dir();
    let first = write_log(dir.path(), 10, small_segments());
    let log = Log::open(dir.path(), small_segments()).unwrap();
    assert_eq!(log.recovery().entries, 20);
    assert_eq!((log.recovery().cut_bytes, log.recovery().unfinished.len()), (0, 0));
    assert_eq!(log.head().as_ref(), first.last());
    let next = log.append(started()).wait().unwrap();
    assert_eq!(next.index(), 20);
    log.close();

    let verified = verify(dir.path(), &[(&first[3]).into(), (&next).into()]).unwrap();
    assert_eq!(verified.entries, 21);
    assert_eq!(verified.head.unwrap().0, next.hash());
    assert!(verified.segments > 3, "{verified:?}");
}

#[test]
fn many_appends_share_a_flush() {
    let dir = dir();
    let (log, faults) = open_faulty(dir.path(), LogOptions::default());
    faults.close_gate();
    let waiting: Vec<Appending> =
        (0..500).map(|number| log.append(permit(&format!("r{number}")))).collect();
    faults.open_gate();
    let indices: Vec<u64> =
        waiting.into_iter().map(|entry| entry.wait().unwrap().index()).collect();
    assert_eq!(indices, (0..500).collect::<Vec<_>>());
    let flushes = faults.flushes.load(Ordering::Relaxed);
    assert!(flushes <= 2, "the first entry, then all others: {flushes} flushes");
    log.close();
    assert_eq!(verify(dir.path(), &[]).unwrap().entries, 500);
}

#[test]
fn nothing_is_acknowledged_before_its_flush() {
    use std::task::{Context, Poll, Waker};

    let dir = dir();
    let (log, faults) = open_faulty(dir.path(), LogOptions::default());
    faults.close_gate();
    let mut entry = log.append(started());
    // the writer has written it and waits in the flush
    while faults.appends.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    let mut context = Context::from_waker(Waker::noop());
    let polled = std::pin::Pin::new(&mut entry).poll(&mut context);
    assert_eq!(polled, Poll::Pending);
    assert_eq!(log.head(), None);
    faults.open_gate();
    assert_eq!(entry.wait().unwrap().index(), 0);
}

#[test]
fn a_full_queue_is_busy() {
    let dir = dir();
    let options = LogOptions { queue_entries_max: 4, ..LogOptions::default() };
    let (log, faults) = open_faulty(dir.path(), options);
    faults.close_gate();
    let first = log.append(started());
    while faults.appends.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    let waiting: Vec<_> = (0..4).map(|_| log.append(started())).collect();
    assert_eq!(log.append(started()).wait(), Err(AppendError::Busy));
    faults.open_gate();
    first.wait().unwrap();
    waiting.into_iter().for_each(|entry| assert!(entry.wait().is_ok()));
    assert!(log.append(started()).wait().is_ok(), "it goes on");
}

#[test]
fn after_a_failed_flush_everything_is_refused() {
    let dir = dir();
    let (log, faults) = open_faulty(dir.path(), LogOptions::default());
    let before = log.append(permit("before")).wait().unwrap();
    faults.set(&[Fault::Flush]);
    let error = log.append(permit("lost")).wait().unwrap_err();
    assert_eq!(error.to_string(), "the audit log is closed: flushing failed: injected");
    for _ in 0..3 {
        assert_eq!(log.append(started()).wait(), Err(error.clone()));
    }
    assert!(matches!(log.status(), Status::Closed(why) if why.contains("flushing")));
    assert_eq!(faults.flushes.load(Ordering::Relaxed), 2, "a flush is never tried again");
    assert_eq!(log.head(), Some(before.clone()));
    drop(log);

    // what is found when it is opened again contains at least what was acknowledged
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    assert!(log.recovery().entries >= 1);
    assert!(verify(dir.path(), &[(&before).into()]).is_ok());
    assert!(log.append(started()).wait().is_ok());
}

#[test]
fn a_full_disk_is_waited_out_without_a_trace() {
    let dir = dir();
    let (log, faults) = open_faulty(dir.path(), LogOptions::default());
    faults.set(&[Fault::CreateFull]);
    assert_eq!(log.append(started()).wait(), Err(AppendError::Full));
    log.append(permit("a")).wait().unwrap();
    faults.set(&[Fault::AppendFull(100), Fault::AppendFull(0), Fault::AppendFull(usize::MAX)]);
    for _ in 0..3 {
        assert_eq!(log.append(permit("b")).wait(), Err(AppendError::Full));
        assert_eq!(log.status(), Status::Full);
    }
    assert_eq!(faults.truncations.load(Ordering::Relaxed), 3);
    let next = log.append(terminal("a", 0)).wait().unwrap();
    assert_eq!((next.index(), log.status()), (1, Status::Open));
    log.close();
    let verified = verify(dir.path(), &[]).unwrap();
    assert_eq!((verified.entries, verified.incomplete_bytes), (2, 0));
    assert!(verified.unfinished.is_empty());
}

#[test]
fn what_cannot_be_cut_or_written_closes_the_log() {
    for faults_set in [
        &[Fault::AppendFull(50), Fault::Truncate][..],
        &[Fault::AppendBroken(50)],
        &[Fault::CreateBroken],
    ] {
        let dir = dir();
        let options = LogOptions { segment_bytes_max: 1, ..LogOptions::default() };
        let (log, faults) = open_faulty(dir.path(), options);
        let before = log.append(started()).wait().unwrap();
        faults.set(faults_set);
        let refused = log.append(started()).wait();
        assert!(matches!(refused, Err(AppendError::Closed(_))), "{faults_set:?}: {refused:?}");
        assert!(matches!(log.append(started()).wait(), Err(AppendError::Closed(_))));
        drop(log);
        let log = Log::open(dir.path(), LogOptions::default()).unwrap();
        assert_eq!(log.recovery().entries, 1, "{faults_set:?}");
        assert_eq!(log.head(), Some(before));
        log.append(started()).wait().unwrap();
    }
}

#[test]
fn a_permit_ends_exactly_once() {
    let dir = dir();
    let (log, faults) = open_faulty(dir.path(), LogOptions::default());
    let not_open = |decision| Err(AppendError::NotOpen { decision });
    log.append(permit("a")).wait().unwrap();
    log.append(denial("b")).wait().unwrap();
    assert_eq!(log.append(terminal("a", 1)).wait(), not_open(1), "a denial is its own end");
    assert_eq!(log.append(terminal("other", 0)).wait(), not_open(0), "of another request");
    assert_eq!(log.append(terminal("a", 7)).wait(), not_open(7), "of no entry");
    // twice at once, in one batch
    faults.close_gate();
    let before = log.append(started());
    let (one, two) = (log.append(terminal("a", 0)), log.append(terminal("a", 0)));
    faults.open_gate();
    before.wait().unwrap();
    assert_eq!(one.wait().unwrap().index(), 3);
    assert_eq!(two.wait(), not_open(0));
    assert_eq!(log.append(terminal("a", 0)).wait(), not_open(0), "again");
    log.close();
    assert!(verify(dir.path(), &[]).unwrap().unfinished.is_empty());
}

#[test]
fn an_entry_that_is_too_long_is_refused() {
    let dir = dir();
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    let long = log.append(permit(&"x".repeat(1 << 20))).wait();
    assert!(matches!(long, Err(AppendError::TooLarge { .. })), "{long:?}");
    let longest = log.append(permit(&"x".repeat((1 << 20) - 1500))).wait();
    assert!(longest.is_ok());
    log.close();
    assert!(verify(dir.path(), &[]).is_ok());
}

#[test]
fn only_one_gateway_writes() {
    let dir = dir();
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    let second = Log::open(dir.path(), LogOptions::default());
    assert!(matches!(second, Err(LogError::InUse)));
    assert!(verify(dir.path(), &[]).is_ok(), "reading takes no lock");
    drop(log);
    Log::open(dir.path(), LogOptions::default()).unwrap();
}

#[test]
fn closing_makes_everything_durable_and_refuses_the_rest() {
    let dir = dir();
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    let waiting: Vec<_> = (0..50).map(|_| log.append(started())).collect();
    let clone = log.clone();
    log.close();
    assert_eq!(verify(dir.path(), &[]).unwrap().entries, 50);
    waiting.into_iter().for_each(|entry| assert!(entry.wait().is_ok()));
    assert!(matches!(clone.append(started()).wait(), Err(AppendError::Closed(_))));
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;

    let above = dir();
    let dir = above.path().join("audit");
    write_log(&dir, 1, LogOptions::default());
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("00000000000000000000.jsonl")), 0o600);
}

/// Cuts the log at every byte of its last entries, as a crash may, and opens it again.
#[test]
fn a_crash_at_any_byte_loses_nothing_that_was_acknowledged() {
    let original = dir();
    let log = Log::open(original.path(), LogOptions::default()).unwrap();
    log.append(permit("a")).wait().unwrap();
    let acknowledged = log.append(permit("b")).wait().unwrap();
    let name = "00000000000000000000.jsonl";
    let kept = std::fs::read(original.path().join(name)).unwrap().len();
    log.append(terminal("a", 0)).wait().unwrap();
    log.append(denial("c")).wait().unwrap();
    log.close();
    let whole = std::fs::read(original.path().join(name)).unwrap();

    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for cut in kept..=whole.len() {
        let dir = dir();
        std::fs::write(dir.path().join(name), &whole[..cut]).unwrap();
        let log = Log::open_with(dir.path(), LogOptions::default(), Unflushed::open).unwrap();
        let complete = ends.iter().filter(|end| **end < cut).count();
        let recovery = log.recovery().clone();
        assert_eq!(recovery.entries, complete as u64, "cut at {cut}");
        let last_end = ends[complete - 1] + 1;
        assert_eq!(recovery.cut_bytes, (cut - last_end) as u64, "cut at {cut}");
        let open: Vec<&str> = recovery.unfinished.iter().map(|one| one.request.as_str()).collect();
        assert_eq!(open, if complete == 2 { vec!["a", "b"] } else { vec!["b"] });
        for unfinished in &recovery.unfinished {
            let end = Terminal::unknown(crate::fixtures::time(), unfinished);
            log.append(audit::Entry::Terminal(Box::new(end))).wait().unwrap();
        }
        log.close();
        let verified = verify(dir.path(), &[(&acknowledged).into()]).unwrap();
        assert!(verified.unfinished.is_empty() && verified.incomplete_bytes == 0);
    }
}

/// A page of the last batch that was never written reads as zeros.
#[test]
fn a_hole_at_the_end_is_cut() {
    let dir = dir();
    write_log(dir.path(), 2, LogOptions::default());
    let path = dir.path().join("00000000000000000000.jsonl");
    let mut bytes = std::fs::read(&path).unwrap();
    let third = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
    bytes[third + 40..third + 300].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let log = Log::open(dir.path(), LogOptions::default()).unwrap();
    assert_eq!(log.recovery().entries, 2);
    assert_eq!(log.recovery().cut_bytes as usize, bytes.len() - third - 1);
    log.close();
    assert_eq!(verify(dir.path(), &[]).unwrap().entries, 2);
}

#[test]
fn a_changed_log_is_not_opened() {
    let dir = dir();
    write_log(dir.path(), 2, LogOptions::default());
    let path = dir.path().join("00000000000000000000.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("development", "deveLopment", 1)).unwrap();
    let Err(LogError::Damaged(error)) = Log::open(dir.path(), LogOptions::default()) else {
        panic!("a changed log was opened");
    };
    assert!(error.to_string().ends_with("00000000000000000000.jsonl:1: entry 0 was changed"));
    assert!(std::fs::read_to_string(&path).unwrap().contains("deveLopment"), "evidence stays");
}
