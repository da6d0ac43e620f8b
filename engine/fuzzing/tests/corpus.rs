//! Every target over its corpus, and over mutations of it, with its memory watched.
//!
//! `HANSE_FULL=1` runs a hundred times as many mutations.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::time::Instant;

use engine_fuzzing::{TARGETS, Target, memory_max};
use peak_alloc::PeakAlloc;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Mutations of each target.
const SAMPLE: u64 = 1500;
const FULL: u64 = 150_000;
/// Nothing may take longer, even where the machine is busy.
const SECONDS_MAX: u64 = 5;
/// Numbers that sizes and counts lie with.
const LIES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0xffff,
    1 << 27,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 60,
    u64::MAX / 8,
    u64::MAX,
];

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder.join(target.name))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// Runs a body; its memory and time must depend on the input's length alone.
fn run(target: &Target, what: &str, input: &[u8]) {
    MEMORY.reset_peak_usage();
    let (before, began) = (MEMORY.current_usage(), Instant::now());
    let outcome = std::panic::catch_unwind(|| (target.body)(input));
    let start = input[..input.len().min(400)].escape_ascii();
    assert!(outcome.is_ok(), "{}: {what} panics; it begins with {start}", target.name);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let max = memory_max(input.len());
    assert!(taken <= max, "{}: {what} takes {taken} bytes, at most {max}", target.name);
    let seconds = began.elapsed().as_secs();
    assert!(seconds < SECONDS_MAX, "{}: {what} takes {seconds} s", target.name);
}

/// One to four changes, of the kinds that break parsers.
fn mutate(rng: &mut StdRng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        let end = rng.random_range(at..=bytes.len().min(at + 64));
        match rng.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.random_range(0..8);
                }
            }
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let from = rng.random_range(0..=other.len());
                let to = rng.random_range(from..=other.len().min(from + 64));
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            // lies are most interesting where the counts of a head stand
            kind => {
                let near = if kind == 5 { bytes.len().min(64) } else { bytes.len() };
                let at = rng.random_range(0..=near);
                let lie = LIES[rng.random_range(0..LIES.len())].to_le_bytes();
                let width = [1, 4, 8][rng.random_range(0..3)];
                for (byte, lie) in bytes.iter_mut().skip(at).zip(&lie[..width]) {
                    *byte = *lie;
                }
            }
        }
    }
    bytes
}

/// One test, because the memory that is watched is the whole process's.
#[test]
fn no_input_hurts() {
    let count = if std::env::var_os("HANSE_FULL").is_some() { FULL } else { SAMPLE };
    for target in TARGETS {
        let seeds = corpus(target);
        assert!(seeds.len() > 3, "{} has a corpus", target.name);
        for (name, input) in &seeds {
            run(target, name, input);
        }
        for number in 0..count {
            let mut rng = StdRng::seed_from_u64(number);
            let (name, input) = &seeds[rng.random_range(0..seeds.len())];
            let (_, other) = &seeds[rng.random_range(0..seeds.len())];
            run(target, &format!("mutation {number} of {name}"), &mutate(&mut rng, input, other));
        }
    }
}

#[test]
fn every_folder_of_the_corpus_has_its_target() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(engine_fuzzing::body(&name).is_some(), "nothing reads fuzz/corpus/{name}");
    }
}
