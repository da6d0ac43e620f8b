//! The text of an API key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `hanse_<8 hexadecimal digits>_<43 characters of base64url>`: a prefix that scanners for
/// leaked secrets can find, a public id, and 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// Every key begins so.
pub(super) const PREFIX: &str = "hanse_";
const ID_DIGITS: usize = 8;
const SECRET_BYTES: usize = 32;
const SECRET_CHARACTERS: usize = 43;

impl ApiKey {
    /// Fresh from the system's generator.
    pub(super) fn random() -> Self {
        let mut bytes = [0; ID_DIGITS / 2 + SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
        let (id, secret) = bytes.split_at(ID_DIGITS / 2);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret)))
    }

    /// Takes a text that has the form of a key. Nothing is looked up.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let formed = id.len() == ID_DIGITS
            && id.bytes().all(hex)
            && secret.len() == SECRET_CHARACTERS
            && URL_SAFE_NO_PAD.decode(secret).is_ok_and(|bytes| bytes.len() == SECRET_BYTES);
        formed.then(|| Self(text.into()))
    }

    /// The public part, by which lists and logs name the key.
    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_DIGITS]
    }

    /// The whole key. To be shown once, to the one who asked for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Shows the public part only.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_..)", self.id())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_has_one_form() {
        let key = ApiKey::random();
        assert_eq!(ApiKey::parse(key.expose()), Some(key.clone()));
        assert_ne!(ApiKey::random(), key);
        assert!(!format!("{key:?}").contains(&key.expose()[20..]));

        let text = key.expose();
        let (start, last) = text.split_at(text.len() - 1);
        // the last character has two spare bits, which must be zero: `B` has one of them set
        assert!(ApiKey::parse(&format!("{start}B")).is_none(), "{last}");
        for bad in [
            "",
            "hanse_",
            "hanse_0123abcd_",
            &text.to_uppercase(),
            &text[1..],
            start,
            &format!("{text}A"),
            &format!("{text}="),
            &format!(" {text}"),
            &text.replacen("hanse_", "hanse-", 1),
        ] {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
    }
}
