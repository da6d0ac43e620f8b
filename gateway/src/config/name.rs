//! Names that an operator gives.

use serde::Deserialize;

/// The name of a zone, model or partition. It appears in URLs, logs and paths, so it is one to
/// 64 ASCII letters, digits, `.`, `_` and `-`, and begins with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// The longest name, in bytes.
const BYTES_MAX: usize = 64;

impl Name {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, String> {
        let first_fits = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let all_fit = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if name.len() > BYTES_MAX || !first_fits || !all_fit {
            return Err(format!(
                "{name:?} is not a name: 1 to {BYTES_MAX} letters, digits, `.`, `_` and `-`, \
                 beginning with a letter or digit"
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}
