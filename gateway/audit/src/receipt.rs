//! Evidence of an entry: inside the gateway, and in the hands of clients.

use std::str::FromStr;

use crate::Digest;

/// Proof that an entry is durable. Only a [`crate::Log`] makes one, so whoever holds one has
/// waited for the flush.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    index: u64,
    hash: Digest,
}

impl Recorded {
    pub(crate) fn new(index: u64, hash: Digest) -> Self {
        Self { index, hash }
    }

    /// The entry's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The entry's hash.
    pub fn hash(&self) -> [u8; 32] {
        self.hash.0
    }

    /// A short name for the entry, for example `12-0123456789abcdef`: its index and the first
    /// 16 digits of its hash. It is the value of `x-hanse-receipt`, and an [`Anchor`] can be
    /// read from it.
    pub fn receipt_name(&self) -> String {
        let hash = self.hash.to_string();
        format!("{}-{}", self.index, &hash[..Anchor::DIGITS_MIN])
    }
}

/// An entry that is known from elsewhere to have been in a log: from a client's receipt, or
/// from the head that an auditor noted at the last visit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    index: u64,
    digits: String,
}

/// The text is no anchor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "expected an entry's index and its hash, as `INDEX:HASH` or as a receipt `INDEX-HASH`, with \
     16 to 64 lower-case hexadecimal digits"
)]
pub struct AnchorError;

impl Anchor {
    /// 64 bits: too many to find another entry with the same ones by trying, few enough for
    /// a header.
    const DIGITS_MIN: usize = 16;

    /// The entry's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    pub(crate) fn fits(&self, hash: &Digest) -> bool {
        hash.hex().starts_with(self.digits.as_bytes())
    }
}

impl From<&Recorded> for Anchor {
    fn from(recorded: &Recorded) -> Self {
        Self { index: recorded.index, digits: recorded.hash.to_string() }
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (index, digits) = text.split_once([':', '-']).ok_or(AnchorError)?;
        let decimal = index.bytes().all(|byte| byte.is_ascii_digit());
        let hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !decimal || !hex || !(Self::DIGITS_MIN..=64).contains(&digits.len()) {
            return Err(AnchorError);
        }
        let index = index.parse().map_err(|_| AnchorError)?;
        Ok(Self { index, digits: digits.into() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_receipt_is_an_anchor_of_its_entry() {
        let recorded = Recorded::new(12, Digest([0xab; 32]));
        assert_eq!(recorded.receipt_name(), "12-abababababababab");
        let anchor: Anchor = recorded.receipt_name().parse().unwrap();
        assert!(anchor.index() == 12 && anchor.fits(&recorded.hash));
        assert!(!anchor.fits(&Digest([0xac; 32])));
        assert!(Anchor::from(&recorded).fits(&recorded.hash));
        for bad in
            ["", "12", "12:", "-1:abababababababab", "12:ababababababab", "12:ABABABABABABABAB"]
        {
            assert!(bad.parse::<Anchor>().is_err(), "{bad}");
        }
    }
}
