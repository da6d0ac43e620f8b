//! Names of things. Each is a type of its own, so that none can stand in for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A tenant: lower-case letters, digits and hyphens, at most 64 of them. Safe in file names,
/// log lines and labels as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// The text cannot name a tenant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a tenant's name has 1 to 64 lower-case letters, digits and hyphens, and begins and ends \
     with a letter or digit"
)]
pub struct TenantIdError;

/// A place with a jurisdiction, for example `eu-de-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(Arc<str>);

impl TenantId {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inside = text.bytes().all(|byte| plain(byte) || byte == b'-');
        let ends =
            text.bytes().next().is_some_and(plain) && text.bytes().next_back().is_some_and(plain);
        if inside && ends && text.len() <= Self::BYTES_MAX {
            return Ok(Self(text.into()));
        }
        Err(TenantIdError)
    }
}

impl ZoneId {
    /// Takes the name as it is; the operator's configuration has checked it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! shown_as_text {
    ($($name:ident)+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )+};
}

shown_as_text!(TenantId ZoneId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_safe_everywhere() {
        let longest = "a".repeat(64);
        for good in ["a", "development", "stadt-koeln-2", "7", longest.as_str()] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        let longer = "a".repeat(65);
        for bad in ["", "-", "-a", "a-", "A", "a b", "a/b", "..", "a\n", "ä", longer.as_str()] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }
}
