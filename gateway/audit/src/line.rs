//! One line of a segment: the frame around an entry, and the chain through the frames.
//!
//! Lines are taken apart by their fixed texts, not as JSON: a line that says the same in
//! other bytes is not the line that was written.

use aws_lc_rs::digest::{Context, SHA256};

use crate::Digest;

const DOMAIN: &[u8] = b"\x00hanse-audit-entry-v1\n";
const INDEX: &[u8] = b"{\"format\":1,\"index\":";
const PREVIOUS: &[u8] = b",\"previous\":\"";
const ENTRY: &[u8] = b"\",\"entry\":";
const HASH: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
const HEX: usize = 64;

/// A line, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub index: u64,
    pub previous: Digest,
    pub entry: &'a [u8],
    pub hash: Digest,
}

impl<'a> Line<'a> {
    /// Takes a line apart, without its line feed. `None` when the frame is not as it is
    /// written.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(INDEX)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (index, rest) = rest.split_at(digits);
        let (previous, rest) = rest.strip_prefix(PREVIOUS)?.split_at_checked(HEX)?;
        let rest = rest.strip_prefix(ENTRY)?.strip_suffix(END)?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HEX)?)?;
        let entry = rest.strip_suffix(HASH)?;
        if index.len() > 1 && index[0] == b'0' {
            return None;
        }
        Some(Self {
            index: std::str::from_utf8(index).ok()?.parse().ok()?,
            previous: Digest::from_hex(previous)?,
            entry,
            hash: Digest::from_hex(hash)?,
        })
    }

    /// Whether the hash is the one of the line's own index, predecessor and entry.
    pub fn is_consistent(&self) -> bool {
        hash(self.index, &self.previous, self.entry) == self.hash
    }
}

/// Where the next entry is to be linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    /// Index of the next entry.
    pub next: u64,
    /// Hash of the one before it; zeros at the beginning.
    pub previous: Digest,
}

impl Chain {
    pub const EMPTY: Self = Self { next: 0, previous: Digest::ZERO };

    /// Whether the line is the next link.
    pub fn continues_with(&self, line: &Line<'_>) -> bool {
        line.index == self.next && line.previous == self.previous && line.is_consistent()
    }

    pub fn advance(&mut self, hash: Digest) {
        self.next += 1;
        self.previous = hash;
    }

    /// Writes an entry as the next link, with its line feed.
    pub fn write(&mut self, lines: &mut Vec<u8>, entry: &[u8]) -> Digest {
        let hash = hash(self.next, &self.previous, entry);
        lines.extend_from_slice(INDEX);
        lines.extend_from_slice(self.next.to_string().as_bytes());
        lines.extend_from_slice(PREVIOUS);
        lines.extend_from_slice(&self.previous.hex());
        lines.extend_from_slice(ENTRY);
        lines.extend_from_slice(entry);
        lines.extend_from_slice(HASH);
        lines.extend_from_slice(&hash.hex());
        lines.extend_from_slice(END);
        lines.push(b'\n');
        self.advance(hash);
        hash
    }
}

fn hash(index: u64, previous: &Digest, entry: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(DOMAIN);
    context.update(&previous.0);
    context.update(&index.to_be_bytes());
    context.update(entry);
    Digest::from_sha256(context.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_reads_as_it_was_written_and_in_no_other_bytes() {
        let mut chain = Chain::EMPTY;
        let mut lines = Vec::new();
        let hash = chain.write(&mut lines, br#"{"a":1}"#);
        assert_eq!(lines.pop(), Some(b'\n'));
        let line = Line::parse(&lines).unwrap();
        assert_eq!((line.index, line.hash), (0, hash));
        assert!(Chain::EMPTY.continues_with(&line));

        for position in 0..lines.len() {
            for bit in 0..8 {
                let mut changed = lines.clone();
                changed[position] ^= 1 << bit;
                let accepted =
                    Line::parse(&changed).is_some_and(|line| Chain::EMPTY.continues_with(&line));
                assert!(!accepted, "byte {position}, bit {bit}");
            }
        }
        let spaced = String::from_utf8(lines).unwrap().replace("\"index\":0", "\"index\":00");
        assert!(Line::parse(spaced.as_bytes()).is_none());
    }

    /// The hash by the words of the crate's documentation, computed by coreutils' sha256sum.
    #[test]
    fn the_hash_is_what_the_documentation_says() {
        let hash = hash(7, &Digest([0x11; 32]), br#"{"a":1}"#);
        assert_eq!(
            hash.to_string(),
            "829bb6b63aa2b290cedfe153093331aeae751188b275a576b57c666d842cb629"
        );
    }
}
