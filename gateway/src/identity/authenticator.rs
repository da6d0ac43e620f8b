//! From headers to a principal.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::AUTHORIZATION;

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
        let credential = bearer(headers)?;
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

/// The credential of the one `Authorization: Bearer` header (RFC 6750). The scheme's name
/// ignores case; one space follows it.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().ok_or(AuthError::Missing)?;
    if lines.next().is_some() {
        return Err(AuthError::Several);
    }
    let line = line.to_str().map_err(|_| AuthError::Scheme)?;
    let (scheme, credential) = line.split_once(' ').ok_or(AuthError::Scheme)?;
    let formed = scheme.eq_ignore_ascii_case("bearer")
        && !credential.is_empty()
        && credential.bytes().all(|byte| byte.is_ascii_graphic());
    if formed { Ok(credential) } else { Err(AuthError::Scheme) }
}

#[cfg(test)]
mod tests;
