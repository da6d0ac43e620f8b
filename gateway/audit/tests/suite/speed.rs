//! Prints how fast a log is verified and written. No number is asserted: machines differ.
//! `HANSE_FULL=1` takes a log of 200,000 entries.

use std::time::Instant;

use crate::fixtures::{permit, terminal};
use audit::{Log, LogOptions, verify};

#[test]
fn a_long_log_is_written_and_verified() {
    let requests: u64 = if std::env::var_os("HANSE_FULL").is_some() { 100_000 } else { 5_000 };
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes_max: 1 << 20, ..LogOptions::default() };
    let log = Log::open(dir.path(), options).unwrap();
    let begun = Instant::now();
    for chunk in 0..requests / 500 {
        let names: Vec<String> = (0..500).map(|one| format!("req-{chunk}-{one}")).collect();
        let permits: Vec<_> = names.iter().map(|name| log.append(permit(name))).collect();
        let permits = permits.into_iter().map(|permit| permit.wait().unwrap().index());
        let ends: Vec<_> =
            names.iter().zip(permits).map(|(name, at)| log.append(terminal(name, at))).collect();
        for end in ends {
            end.wait().unwrap();
        }
    }
    log.close();
    let written = begun.elapsed();
    let begun = Instant::now();
    let verified = verify(dir.path(), &[]).unwrap();
    let read = begun.elapsed();
    assert_eq!(verified.entries, 2 * requests);
    assert!(verified.unfinished.is_empty() && verified.segments > 5);
    let per_second = |time: std::time::Duration| verified.entries as f64 / time.as_secs_f64();
    println!("{:.0} entries/s written, {:.0} verified", per_second(written), per_second(read));
}
