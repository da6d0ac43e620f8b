//! Amounts of memory, always with their unit.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// Memory for the K and V of a partition, in bytes; written with a unit, `"512MiB"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvMemory(u64);

const UNITS: [(&str, u64); 4] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Less than this holds not even one block of a small model.
const BYTES_MIN: u64 = 1 << 20;
const BYTES_MAX: u64 = 64 << 40;

impl KvMemory {
    /// Reads a whole number with a unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("{text:?} is not {}{}", Self::EXPECTED, unit_meant(unit)));
        };
        let bytes = count.parse::<u64>().ok().and_then(|count| count.checked_mul(*factor));
        match bytes {
            Some(bytes) if (BYTES_MIN..=BYTES_MAX).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(format!("{text:?} is out of range: memory is between 1MiB and 64TiB")),
        }
    }

    const EXPECTED: &'static str = "memory with a unit, for example \"512MiB\"";

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

fn unit_meant(unit: &str) -> String {
    let initial = unit.chars().next().map(|c| c.to_ascii_uppercase());
    let meant = UNITS.iter().find(|(name, _)| name.chars().next() == initial);
    meant.map_or_else(String::new, |(name, _)| format!("; the unit is written {name}"))
}

struct MemoryVisitor;

impl Visitor<'_> for MemoryVisitor {
    type Value = KvMemory;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(KvMemory::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<KvMemory, E> {
        KvMemory::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for KvMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemoryVisitor)
    }
}
