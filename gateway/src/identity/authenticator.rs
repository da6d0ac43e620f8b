//! From headers to a principal.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::live_keys::LiveKeys;
use super::{ApiKey, AuthError, Issuers, KeyRingError, Principal, TokenError, api_key, token};
use crate::data_dir::DataDir;

/// Knows every key and every issuer.
pub struct Authenticator {
    keys: LiveKeys,
    issuers: Issuers,
}

impl Authenticator {
    /// Takes the API keys of a data directory and the tokens of some issuers.
    pub fn new(data: DataDir, issuers: Issuers) -> Result<Self, KeyRingError> {
        // named here, because a process with two of them would panic at its first token
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Ok(Self { keys: LiveKeys::open(data)?, issuers })
    }

    /// Who sends these headers, now.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.authenticate_at(headers, since_epoch.as_secs() as i64)
    }

    /// Who sends these headers, at a time in Unix seconds.
    pub fn authenticate_at(&self, headers: &HeaderMap, now: i64) -> Result<Principal, AuthError> {
        let credential = credential(headers)?;
        if credential.starts_with(api_key::PREFIX) {
            let key = ApiKey::parse(credential).ok_or(AuthError::InvalidKey)?;
            return self.keys.ring().principal(&key, now);
        }
        // what is no token either is most likely a key of someone else, or a mistyped one
        if !credential.contains('.') {
            return Err(AuthError::InvalidKey);
        }
        if self.issuers.is_empty() {
            return Err(TokenError::NotConfigured.into());
        }
        Ok(token::principal(&self.issuers, credential, now)?)
    }

    #[cfg(test)]
    pub(super) fn look_at_keys_now(&self) {
        self.keys.look_now();
    }
}

/// Where Anthropic's clients put a key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The one credential: of an `Authorization: Bearer` header (RFC 6750) or of `x-api-key`. Both
/// may be there only if they say the same, because two readers could choose differently.
fn credential(headers: &HeaderMap) -> Result<&str, AuthError> {
    let (bearer, key) = (headers.get_all(AUTHORIZATION), headers.get_all(API_KEY));
    if bearer.iter().nth(1).is_some() || key.iter().nth(1).is_some() {
        return Err(AuthError::Several);
    }
    let bearer = bearer.iter().next().map(bearer_of).transpose()?;
    let key = key.iter().next().map(key_of).transpose()?;
    match (bearer, key) {
        (Some(bearer), Some(key)) if bearer != key => Err(AuthError::Several),
        (bearer, key) => bearer.or(key).ok_or(AuthError::Missing),
    }
}

/// The scheme's name ignores case; one space follows it.
fn bearer_of(line: &HeaderValue) -> Result<&str, AuthError> {
    let line = line.to_str().map_err(|_| AuthError::Scheme)?;
    let (scheme, credential) = line.split_once(' ').ok_or(AuthError::Scheme)?;
    let formed = scheme.eq_ignore_ascii_case("bearer") && is_printable(credential);
    if formed { Ok(credential) } else { Err(AuthError::Scheme) }
}

fn key_of(line: &HeaderValue) -> Result<&str, AuthError> {
    let key = line.to_str().map_err(|_| AuthError::InvalidKey)?;
    if is_printable(key) { Ok(key) } else { Err(AuthError::InvalidKey) }
}

fn is_printable(credential: &str) -> bool {
    !credential.is_empty() && credential.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
