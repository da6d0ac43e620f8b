//! The public keys of an issuer (RFC 7517), each with the one algorithm that it verifies.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::api::json;

/// The most keys that an issuer may have.
const KEYS_MAX: usize = 64;
/// The longest `kid`, in bytes.
pub(super) const KID_BYTES_MAX: usize = 128;
/// An RSA modulus has 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A signature algorithm that this gateway verifies. Nothing else exists for it: no HMAC, no
/// `none`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// RSA PKCS #1 v1.5 with SHA-256: only where an issuer's entry names it.
    Rs256,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Ps256, Self::Rs256];

    /// Its name in JWS, which has exactly one spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => Self::EdDSA,
            Algorithm::Es256 => Self::ES256,
            Algorithm::Ps256 => Self::PS256,
            Algorithm::Rs256 => Self::RS256,
        }
    }
}

/// Why a JWKS cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwksError {
    /// Not JSON of the form of a JWKS.
    #[error("it is no JSON Web Key Set")]
    Malformed,
    /// It holds a secret, which an issuer never gives away.
    #[error("key {0} is symmetric or private; only public keys belong here")]
    Secret(usize),
    /// A key cannot be read.
    #[error("key {place} {what}")]
    Key {
        /// Which, from 1.
        place: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No key is left.
    #[error("it has no signing key of an allowed algorithm")]
    Empty,
    /// Too many.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

/// A key that verifies.
pub(super) struct VerifyingKey {
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// The keys by `kid`. Keys for encryption and of other algorithms are left out; a key without
/// `kid` or with one that is taken is an error.
pub(super) fn parse(
    text: &[u8],
    allowed: &[Algorithm],
) -> Result<HashMap<String, VerifyingKey>, JwksError> {
    let parsed = json::parse(text).map_err(|_| JwksError::Malformed)?;
    let keys = parsed.get("keys").and_then(Value::as_array).ok_or(JwksError::Malformed)?;
    if keys.len() > KEYS_MAX {
        return Err(JwksError::TooMany);
    }
    let mut by_kid = HashMap::new();
    for (place, key) in keys.iter().enumerate() {
        let place = place + 1;
        let key = key.as_object().ok_or(JwksError::Malformed)?;
        if text_of(key, "kty") == Some("oct") || key.contains_key("d") || key.contains_key("k") {
            return Err(JwksError::Secret(place));
        }
        let wrong = |what| JwksError::Key { place, what };
        let Some(verifying) = verifying_key(key, allowed).map_err(wrong)? else {
            continue;
        };
        let kid = text_of(key, "kid").filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len()));
        let kid = kid.ok_or_else(|| wrong("has no `kid` of 1 to 128 bytes"))?;
        if by_kid.insert(kid.to_owned(), verifying).is_some() {
            return Err(wrong("has the `kid` of another key"));
        }
    }
    if by_kid.is_empty() { Err(JwksError::Empty) } else { Ok(by_kid) }
}

/// `None` for a key that is for something else.
fn verifying_key(
    key: &Map<String, Value>,
    allowed: &[Algorithm],
) -> Result<Option<VerifyingKey>, &'static str> {
    if key.get("use").is_some_and(|usage| usage != "sig") {
        return Ok(None);
    }
    let verifies = |operations: &Vec<Value>| operations.iter().any(|one| one == "verify");
    if key.get("key_ops").is_some_and(|ops| !ops.as_array().is_some_and(verifies)) {
        return Ok(None);
    }
    let Some(algorithm) = algorithm(key, allowed)? else {
        return Ok(None);
    };
    let member = |name: &str| text_of(key, name).unwrap_or("");
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(member(name)).unwrap_or_default().len();
    let key = match algorithm {
        Algorithm::EdDsa if bytes("x") == 32 => DecodingKey::from_ed_components(member("x")),
        Algorithm::Es256 if bytes("x") == 32 && bytes("y") == 32 => {
            DecodingKey::from_ec_components(member("x"), member("y"))
        }
        Algorithm::Ps256 | Algorithm::Rs256
            if MODULUS_BYTES.contains(&bytes("n")) && (1..=8).contains(&bytes("e")) =>
        {
            DecodingKey::from_rsa_components(member("n"), member("e"))
        }
        _ => return Err("has numbers that are missing, not base64url or not of its type's length"),
    };
    let key = key.map_err(|_| "cannot be read")?;
    Ok(Some(VerifyingKey { algorithm, key }))
}

/// The one algorithm of a key: by its type, and for RSA by its `alg`, or by what the issuer is
/// allowed when that leaves no choice.
fn algorithm(
    key: &Map<String, Value>,
    allowed: &[Algorithm],
) -> Result<Option<Algorithm>, &'static str> {
    let stated = match key.get("alg") {
        None => None,
        Some(Value::String(name)) => match Algorithm::from_name(name) {
            Some(algorithm) => Some(algorithm),
            None => return Ok(None),
        },
        Some(_) => return Err("has an `alg` that is no text"),
    };
    let fitting: &[Algorithm] = match (text_of(key, "kty"), text_of(key, "crv")) {
        (Some("OKP"), Some("Ed25519")) => &[Algorithm::EdDsa],
        (Some("EC"), Some("P-256")) => &[Algorithm::Es256],
        (Some("RSA"), None) => &[Algorithm::Ps256, Algorithm::Rs256],
        (None, _) => return Err("has no `kty`"),
        _ => return Ok(None),
    };
    if let Some(stated) = stated {
        if !fitting.contains(&stated) {
            return Err("has an `alg` that does not fit its type");
        }
        return Ok(Some(stated).filter(|stated| allowed.contains(stated)));
    }
    let mut left = fitting.iter().copied().filter(|algorithm| allowed.contains(algorithm));
    match (left.next(), left.next()) {
        (Some(_), Some(_)) => Err("needs an `alg`, because both PS256 and RS256 are allowed"),
        (only, _) => Ok(only),
    }
}

fn text_of<'a>(key: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    key.get(member)?.as_str()
}
