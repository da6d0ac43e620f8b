//! One pass over the files of a log: what opening and verifying share.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::line::{Chain, Line};
use crate::requests::{Effect, OpenRequests};
use crate::segment::{self, SegmentId};
use crate::verify::{Finding, VerifyError, diagnose};
use crate::{Digest, Entry};

/// The longest line, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// What a crash can leave behind the last flush at most, in bytes: one batch.
pub(crate) const TORN_BYTES_MAX: u64 = 8 << 20;

/// What was found.
#[derive(Debug)]
pub(crate) struct Walked {
    pub chain: Chain,
    pub requests: OpenRequests,
    pub segments: usize,
    /// Length of the complete lines of the newest segment, in bytes.
    pub complete: u64,
    /// Bytes after them: an entry that was never acknowledged, or is being written.
    pub incomplete: u64,
}

/// Reads every segment, checks the chain and follows the requests. `seen` is called with the
/// index and hash of each entry.
pub(crate) fn walk(dir: &Path, mut seen: impl FnMut(u64, &Digest)) -> Result<Walked, VerifyError> {
    let segments = segment::list(dir)
        .map_err(|source| VerifyError::Read { file: dir.to_path_buf(), source })?;
    let mut walked = Walked {
        chain: Chain::EMPTY,
        requests: OpenRequests::default(),
        segments: segments.len(),
        complete: 0,
        incomplete: 0,
    };
    for (position, segment) in segments.iter().enumerate() {
        if segment.0 != walked.chain.next {
            return Err(diagnose::segment(dir, *segment, walked.chain.next));
        }
        let is_newest = position + 1 == segments.len();
        walked.segment(dir, *segment, is_newest, &mut seen)?;
    }
    Ok(walked)
}

impl Walked {
    fn segment(
        &mut self,
        dir: &Path,
        segment: SegmentId,
        is_newest: bool,
        seen: &mut impl FnMut(u64, &Digest),
    ) -> Result<(), VerifyError> {
        let path = segment.path(dir);
        let read = |source| VerifyError::Read { file: path.clone(), source };
        let mut reader = BufReader::with_capacity(1 << 18, File::open(&path).map_err(read)?);
        let mut line = Vec::new();
        let mut number = 0;
        (self.complete, self.incomplete) = (0, 0);
        loop {
            line.clear();
            let end = read_line(&mut reader, &mut line).map_err(read)?;
            number += 1;
            match end {
                End::Nothing => return Ok(()),
                End::LineFeed if self.entry(&line, seen) => {
                    self.complete += line.len() as u64 + 1;
                }
                end => {
                    let taken = line.len() as u64 + u64::from(end == End::LineFeed);
                    let rest = taken + remaining(&mut reader).map_err(read)?;
                    if is_newest && is_torn(end, &line, rest) {
                        self.incomplete = rest;
                        return Ok(());
                    }
                    let place = diagnose::Place { dir, segment, line: number };
                    return Err(diagnose::line(place, &self.chain, &self.requests, &line, end));
                }
            }
        }
    }

    /// Takes a line in; `false` when it is not the next entry.
    fn entry(&mut self, bytes: &[u8], seen: &mut impl FnMut(u64, &Digest)) -> bool {
        let Some(line) = Line::parse(bytes).filter(|line| self.chain.continues_with(line)) else {
            return false;
        };
        let Ok(entry) = serde_json::from_slice::<Entry>(line.entry) else {
            return false;
        };
        if !self.requests.apply(line.index, Effect::of(&entry)) {
            return false;
        }
        seen(line.index, &line.hash);
        self.chain.advance(line.hash);
        true
    }
}

/// Whether a crash can have left this at the end of the newest segment: a line without its
/// end, or a page that was never written and reads as zeros, which no entry ever holds.
/// Anything else was changed by someone.
fn is_torn(end: End, line: &[u8], rest: u64) -> bool {
    let torn = end == End::File || line.contains(&0);
    torn && rest <= TORN_BYTES_MAX
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// With a line feed, which is not kept.
    LineFeed,
    /// With the file.
    File,
    /// It is longer than a line can be.
    TooLong,
    /// There was no line.
    Nothing,
}

pub(crate) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<End> {
    reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', line)?;
    Ok(match line.last() {
        Some(b'\n') => {
            line.pop();
            End::LineFeed
        }
        Some(_) if line.len() == LINE_BYTES_MAX => End::TooLong,
        Some(_) => End::File,
        None => End::Nothing,
    })
}

fn remaining(reader: &mut impl Read) -> io::Result<u64> {
    io::copy(reader, &mut io::sink())
}

impl From<End> for Finding {
    /// What a line that cannot be read was, by its end.
    fn from(end: End) -> Self {
        match end {
            End::File => Self::Torn,
            End::LineFeed | End::TooLong | End::Nothing => Self::Changed,
        }
    }
}
