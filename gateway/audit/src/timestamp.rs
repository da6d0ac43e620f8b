//! When something happened.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970 in UTC, written as RFC 3339 with exactly three decimals. The order
/// of entries is their index, never their time: a clock may jump.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The year 9999, the last that RFC 3339 can write.
    const MAX: i64 = 253_402_300_799_999;

    /// What the system's clock says.
    pub fn now() -> Self {
        let ms = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        Self::from_unix_ms(ms.try_into().unwrap_or(i64::MAX))
    }

    /// Milliseconds since 1970; times outside the years 1970 to 9999 become the nearest inside.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(0, Self::MAX))
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(self) -> i64 {
        self.0
    }
}

impl FromStr for Timestamp {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a time such as 2026-11-24T09:30:00.000Z";
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| expected)?;
        let ms = i64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| expected)?;
        Ok(Self::from_unix_ms(ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp(self.0 / 1000)
            .expect("only the years 1970 to 9999 are kept");
        let (date, time) = (time.date(), time.time());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        let (hour, minute, second) = time.as_hms();
        let ms = self.0 % 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_512_600_007, "2026-11-24T09:30:00.007Z"),
            (Timestamp::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_unix_ms(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp::from_unix_ms(ms)));
        }
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).unix_ms(), Timestamp::MAX);
        assert_eq!(Timestamp::from_unix_ms(-1).unix_ms(), 0);
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!(Timestamp::now() > "2020-01-01T00:00:00.000Z".parse().unwrap());
    }
}
