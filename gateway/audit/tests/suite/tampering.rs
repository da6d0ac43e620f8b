//! Whatever is done to the files is found, and the first entry that it hits is named.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixtures::write_log;
use audit::{Anchor, Finding, LogOptions, Recorded, VerifyError, verify};
use expect_test::{Expect, expect};

const REQUESTS: usize = 6;

/// A log of 12 entries in three segments of four.
struct Fixture {
    dir: tempfile::TempDir,
    lines: Vec<String>,
    recorded: Vec<Recorded>,
}

fn segment(dir: &Path, first: usize) -> PathBuf {
    dir.join(format!("{first:020}.jsonl"))
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { segment_bytes_max: 4000, ..LogOptions::default() };
        let recorded = write_log(dir.path(), REQUESTS, options);
        let read = |first| fs::read_to_string(segment(dir.path(), first)).unwrap();
        let text: String = [0, 4, 8].map(read).concat();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2 * REQUESTS);
        Self { dir, lines, recorded }
    }

    /// Writes lines as one segment, in place of all.
    fn write(&self, lines: &[String]) {
        self.remove_all();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(segment(self.dir.path(), 0), text).unwrap();
    }

    fn remove_all(&self) {
        for first in [0, 4, 8] {
            let _ = fs::remove_file(segment(self.dir.path(), first));
        }
    }

    fn found(&self) -> (u64, Finding) {
        match verify(self.dir.path(), &[]) {
            Err(VerifyError::Entry { index, finding, .. }) => (index, finding),
            other => panic!("nothing was found: {other:?}"),
        }
    }

    /// What is said, without the directory.
    fn said(&self, anchors: &[Anchor]) -> String {
        match verify(self.dir.path(), anchors) {
            Ok(verified) => format!("intact, {} entries", verified.entries),
            Err(error) => error.to_string().replace(&format!("{}/", self.dir.path().display()), ""),
        }
    }

    fn check(&self, lines: &[String], expected: Expect) {
        self.write(lines);
        expected.assert_eq(&self.said(&[]));
    }
}

#[test]
fn intact_in_one_or_more_segments() {
    let fixture = Fixture::new();
    assert_eq!(fixture.said(&[]), "intact, 12 entries");
    fixture.write(&fixture.lines);
    assert_eq!(fixture.said(&[]), "intact, 12 entries");
}

/// Every byte of an entry in the middle, and a sample of all others, in one bit each.
#[test]
fn any_flipped_bit_is_found_at_its_entry() {
    let fixture = Fixture::new();
    for (index, line) in fixture.lines.iter().enumerate() {
        let step = if index == 5 { 1 } else { 37 };
        for at in (0..line.len()).step_by(step) {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1 << (at % 8);
            let text = fixture.lines[..index].iter().map(|line| format!("{line}\n"));
            let mut all = text.collect::<String>().into_bytes();
            all.extend_from_slice(&bytes);
            all.push(b'\n');
            for line in &fixture.lines[index + 1..] {
                all.extend_from_slice(format!("{line}\n").as_bytes());
            }
            fixture.remove_all();
            fs::write(segment(fixture.dir.path(), 0), all).unwrap();
            let (found, finding) = fixture.found();
            assert_eq!(found, index as u64, "byte {at} of entry {index}: {finding:?}");
        }
    }
}

#[test]
fn removed_entries() {
    let fixture = Fixture::new();
    let without = |range: std::ops::Range<usize>| {
        let mut lines = fixture.lines.clone();
        lines.drain(range);
        lines
    };
    fixture.check(&without(0..1), expect!["00000000000000000000.jsonl:1: entry 0 was removed"]);
    fixture.check(&without(5..6), expect!["00000000000000000000.jsonl:6: entry 5 was removed"]);
    fixture.check(&without(2..10), expect!["00000000000000000000.jsonl:3: entry 2 was removed"]);
    for index in 0..fixture.lines.len() - 1 {
        fixture.write(&without(index..index + 1));
        assert_eq!(fixture.found(), (index as u64, Finding::Removed));
    }
}

#[test]
fn repeated_and_reordered_entries() {
    let fixture = Fixture::new();
    let mut lines = fixture.lines.clone();
    lines.insert(6, lines[5].clone());
    fixture.check(
        &lines,
        expect!["00000000000000000000.jsonl:7: entry 6 is missing: entry 5 is there once more"],
    );
    let mut lines = fixture.lines.clone();
    lines.push(lines[2].clone());
    fixture.check(
        &lines,
        expect!["00000000000000000000.jsonl:13: entry 12 is missing: entry 2 is there once more"],
    );
    let mut lines = fixture.lines.clone();
    lines.swap(3, 4);
    fixture.check(
        &lines,
        expect!["00000000000000000000.jsonl:4: entry 3 was reordered: entry 4 is in its place"],
    );
    for (left, right) in [(0, 1), (2, 9), (10, 11), (0, 11)] {
        let mut lines = fixture.lines.clone();
        lines.swap(left, right);
        fixture.write(&lines);
        assert_eq!(fixture.found(), (left as u64, Finding::Reordered(right as u64)));
    }
}

#[test]
fn replaced_entries() {
    let fixture = Fixture::new();
    // an entry of another log, which is whole in itself
    let other = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let log = audit::Log::open(dir.path(), LogOptions::default()).unwrap();
    for number in 0..4 {
        log.append(crate::fixtures::permit(&format!("other-{number}"))).wait().unwrap();
    }
    log.close();
    let text = fs::read_to_string(segment(dir.path(), 0)).unwrap();
    let foreign: Vec<&str> = text.lines().collect();
    let mut lines = other.lines.clone();
    lines[3] = foreign[3].to_owned();
    fixture.check(&lines, expect!["00000000000000000000.jsonl:4: entry 3 was changed"]);
    // everything up to an entry written anew: its successor still knows the old hash
    let mut lines = other.lines.clone();
    for (line, foreign) in lines.iter_mut().zip(&foreign) {
        *line = (*foreign).to_owned();
    }
    fixture.check(&lines, expect!["00000000000000000000.jsonl:4: entry 3 was changed"]);
}

#[test]
fn segments_removed_renamed_or_cut() {
    let check = |change: &dyn Fn(&Path), expected: Expect| {
        let fixture = Fixture::new();
        change(fixture.dir.path());
        expected.assert_eq(&fixture.said(&[]));
    };
    check(
        &|dir| fs::remove_file(segment(dir, 0)).unwrap(),
        expect!["00000000000000000004.jsonl:1: entry 0 was removed"],
    );
    check(
        &|dir| fs::remove_file(segment(dir, 4)).unwrap(),
        expect!["00000000000000000008.jsonl:1: entry 4 was removed"],
    );
    check(
        &|dir| fs::rename(segment(dir, 4), segment(dir, 3)).unwrap(),
        expect!["00000000000000000003.jsonl:1: entry 3 was changed"],
    );
    check(
        &|dir| fs::rename(segment(dir, 4), segment(dir, 5)).unwrap(),
        expect!["00000000000000000005.jsonl:1: entry 4 was removed"],
    );
    check(
        &|dir| fs::write(segment(dir, 4), "").unwrap(),
        expect!["00000000000000000008.jsonl:1: entry 4 was removed"],
    );
    let cut_middle = |dir: &Path| {
        let text = fs::read(segment(dir, 4)).unwrap();
        fs::write(segment(dir, 4), &text[..text.len() - 30]).unwrap();
    };
    check(
        &cut_middle,
        expect!["00000000000000000004.jsonl:4: entry 7 is torn in the middle of the log"],
    );
    check(
        &|dir| fs::write(segment(dir, 8), "x".repeat(3 << 20)).unwrap(),
        expect!["00000000000000000008.jsonl:1: entry 8 was changed"],
    );
    check(
        &|dir| fs::write(segment(dir, 8), "\n").unwrap(),
        expect!["00000000000000000008.jsonl:1: entry 8 was changed"],
    );
    check(&|dir| fs::write(dir.join("notes.txt"), "x").unwrap(), expect!["intact, 12 entries"]);
}

/// The files alone cannot show that whole entries are missing at the end; what clients hold
/// can.
#[test]
fn anchors_show_what_was_cut_off_or_written_anew() {
    let fixture = Fixture::new();
    let anchor =
        |index: usize| -> Anchor { fixture.recorded[index].receipt_name().parse().unwrap() };
    assert_eq!(fixture.said(&[anchor(0), anchor(11), anchor(5)]), "intact, 12 entries");

    fs::remove_file(segment(fixture.dir.path(), 8)).unwrap();
    assert_eq!(fixture.said(&[]), "intact, 8 entries");
    expect!["00000000000000000004.jsonl:7: entry 10 was cut off: it is known to have existed"]
        .assert_eq(&fixture.said(&[anchor(3), anchor(10)]));

    // the whole log, computed anew with one request less
    fixture.remove_all();
    write_log(fixture.dir.path(), REQUESTS + 1, LogOptions::default());
    assert_eq!(fixture.said(&[]), "intact, 14 entries");
    let forged: Anchor = "3:0000000000000000".parse().unwrap();
    expect![
        "00000000000000000000.jsonl:4: entry 3 was replaced: it is known to have had another hash"
    ]
    .assert_eq(&fixture.said(&[anchor(1), forged]));
}

/// A line by the words of the crate's documentation.
fn line(index: u64, previous: &str, entry: &str) -> String {
    let mut bytes = b"\x00hanse-audit-entry-v1\n".to_vec();
    let digit = |at: usize| u8::from_str_radix(&previous[2 * at..2 * at + 2], 16).unwrap();
    bytes.extend((0..32).map(digit));
    bytes.extend(index.to_be_bytes());
    bytes.extend(entry.as_bytes());
    let hash = audit::Digest::of(&bytes);
    let frame = format!(r#"{{"format":1,"index":{index},"previous":"{previous}","entry":{entry}"#);
    format!("{frame},\"hash\":\"{hash}\"}}\n")
}

/// A bad gateway could link entries that make no sense; they are found too.
#[test]
fn entries_that_do_not_follow_are_found() {
    let zero = "0".repeat(64);
    let say = |lines: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(segment(dir.path(), 0), lines).unwrap();
        let error = verify(dir.path(), &[]).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    };
    let end = serde_json::to_string(&crate::fixtures::terminal("a", 0)).unwrap();
    expect!["00000000000000000000.jsonl:1: entry 0 ends a request that has no open decision"]
        .assert_eq(&say(&line(0, &zero, &end)));
    expect!["00000000000000000000.jsonl:1: entry 0 cannot be read by this version: unknown variant `fantasy`, expected one of `started`, `stopped`, `configuration`, `decision`, `terminal` at line 1 column 10"].assert_eq(&say(&line(0, &zero, r#"{"fantasy":{}}"#)));
    expect!["00000000000000000000.jsonl:1: entry 0 cannot be read by this version: EOF while parsing an object at line 1 column 1"].assert_eq(&say(&line(0, &zero, "{")));
    expect!["00000000000000000000.jsonl:1: entry 0 was removed"]
        .assert_eq(&say(&line(1, &zero, &end)));
}
