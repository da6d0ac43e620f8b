//! Naming what happened to a line that is not the next link of the chain. Only reached when
//! something is wrong, so it may read the log again.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::{Finding, VerifyError};
use crate::Entry;
use crate::line::{Chain, Line};
use crate::requests::{Effect, OpenRequests};
use crate::segment::{self, SegmentId};
use crate::walk::{End, read_line};

/// Where a line is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub dir: &'a Path,
    pub segment: SegmentId,
    pub line: u64,
}

impl Place<'_> {
    fn error(self, index: u64, finding: Finding) -> VerifyError {
        VerifyError::Entry { file: self.segment.path(self.dir), line: self.line, index, finding }
    }
}

/// A segment that does not begin with the next entry.
pub(crate) fn segment(dir: &Path, segment: SegmentId, next: u64) -> VerifyError {
    let place = Place { dir, segment, line: 1 };
    if segment.0 > next {
        return place.error(next, Finding::Removed);
    }
    // more entries before it than its name allows
    place.error(segment.0, Finding::Changed)
}

/// An entry that is known from elsewhere.
pub(crate) fn anchor(dir: &Path, index: u64, finding: Finding) -> VerifyError {
    let segments = segment::list(dir).unwrap_or_default();
    let segment = segments.into_iter().rfind(|segment| segment.0 <= index);
    let segment = segment.unwrap_or(SegmentId(0));
    Place { dir, segment, line: 1 + index - segment.0 }.error(index, finding)
}

/// A line that is not the next entry.
pub(crate) fn line(
    place: Place<'_>,
    chain: &Chain,
    requests: &OpenRequests,
    bytes: &[u8],
    end: End,
) -> VerifyError {
    let next = chain.next;
    let Some(line) = Line::parse(bytes).filter(|_| end == End::LineFeed) else {
        return place.error(next, end.into());
    };
    if line.index != next {
        return place.error(next, displaced(place, &line, next));
    }
    if line.is_consistent() && line.previous != chain.previous && next > 0 {
        // it is whole, and its neighbours are not both its own: the one that its successor
        // does not know is the one that was written anew
        let follower = find(place, next + 1);
        let follows = follower.as_deref().and_then(Line::parse);
        if follows.is_some_and(|follower| follower.previous == line.hash) {
            let line = place.line.saturating_sub(1).max(1);
            return Place { line, ..place }.error(next - 1, Finding::Changed);
        }
        return place.error(next, Finding::Changed);
    }
    if !chain.continues_with(&line) {
        return place.error(next, Finding::Changed);
    }
    match serde_json::from_slice::<Entry>(line.entry) {
        Err(error) => place.error(next, Finding::Unreadable(error.to_string())),
        Ok(entry) => {
            let finding = match Effect::of(&entry) {
                Effect::Ends(end) if !requests.holds(&end) => Finding::NotOpen,
                _ => Finding::Changed,
            };
            place.error(next, finding)
        }
    }
}

/// Another index than the next stands here: the index was changed, or the next entry is
/// gone, elsewhere, or pushed back by a copy.
fn displaced(place: Place<'_>, line: &Line<'_>, next: u64) -> Finding {
    if !line.is_consistent() {
        return Finding::Changed;
    }
    if line.index < next {
        return Finding::Repeated(line.index);
    }
    if find(place, next).is_some() { Finding::Reordered(line.index) } else { Finding::Removed }
}

/// The line of an entry with this index, anywhere from this segment on.
fn find(place: Place<'_>, index: u64) -> Option<Vec<u8>> {
    let segments = segment::list(place.dir).ok()?;
    let mut bytes = Vec::new();
    for segment in segments.into_iter().filter(|segment| *segment >= place.segment) {
        let Ok(file) = File::open(segment.path(place.dir)) else { continue };
        let mut reader = BufReader::new(file);
        loop {
            bytes.clear();
            match read_line(&mut reader, &mut bytes) {
                Ok(End::LineFeed | End::TooLong) => {}
                Ok(End::File | End::Nothing) | Err(_) => break,
            }
            if Line::parse(&bytes).is_some_and(|line| line.index == index) {
                return Some(bytes);
            }
        }
    }
    None
}
