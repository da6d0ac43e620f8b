//! A token (RFC 7519), taken apart before any key is looked up, and then verified.
//!
//! The order matters: what the header may not ask for is refused first, so that nothing in a
//! token can choose how it is checked. Then the issuer's name selects the keys, `kid` one of
//! them, and the key alone the algorithm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::issuers::{Issuer, Issuers, plain_type};
use super::jwks::{Algorithm, KID_BYTES_MAX};
use super::{Principal, PrincipalKind, TokenError};
use crate::api::json;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8192;
/// The longest `sub`, in bytes.
const SUBJECT_BYTES_MAX: usize = 256;
/// The largest whole number that every JSON reader reads back exactly.
const NUMBER_MAX: i64 = 1 << 53;

/// Header members that would choose keys, hide the payload or change what is signed.
const FORBIDDEN: [&str; 10] =
    ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty", "epk"];

/// A token that is well formed and not verified. What it says decides nothing but which key
/// it is held against.
struct Unverified<'a> {
    signed: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: String,
    token_type: String,
    claims: Map<String, Value>,
}

/// Who presents this token, at a time in Unix seconds.
pub(super) fn principal(issuers: &Issuers, token: &str, now: i64) -> Result<Principal, TokenError> {
    let token = Unverified::parse(token)?;
    let name = token.claims.get("iss").and_then(Value::as_str);
    let name = name.ok_or(TokenError::Claim("iss"))?;
    let issuer = issuers.get(name).ok_or(TokenError::UnknownIssuer)?;
    if !issuer.token_types.contains(&token.token_type) {
        return Err(TokenError::Header("`typ` is not the one that its issuer gives access tokens"));
    }
    let key = issuer.keys.get(&token.kid).ok_or(TokenError::UnknownKey)?;
    if token.algorithm != key.algorithm {
        return Err(TokenError::WrongAlgorithm);
    }
    let verified = jsonwebtoken::crypto::verify(
        token.signature,
        token.signed.as_bytes(),
        &key.key,
        key.algorithm.into(),
    );
    if !matches!(verified, Ok(true)) {
        return Err(TokenError::Signature);
    }
    check_audience(&token.claims, issuer)?;
    check_times(&token.claims, issuer, now)?;
    if token.claims.contains_key("cnf") {
        // bound to a key or certificate of the client, which nothing here checks
        return Err(TokenError::Claim("cnf"));
    }
    let subject = subject(&token.claims)?;
    let tenant = token.claims.get(&issuer.tenant_claim).and_then(Value::as_str);
    let tenant = tenant.and_then(|tenant| tenant.parse().ok());
    let tenant = tenant.ok_or(TokenError::Claim("tenant"))?;
    Ok(Principal::new(PrincipalKind::Jwt, tenant, subject, token.kid))
}

impl<'a> Unverified<'a> {
    fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let segments: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = segments[..] else {
            return Err(TokenError::Malformed("it has not three segments"));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let header = object(header)?;
        let claims = object(payload)?;
        let signature_bytes = decode(signature)?;
        if signature_bytes.is_empty() {
            return Err(TokenError::Malformed("it has no signature"));
        }
        if let Some(member) = FORBIDDEN.iter().find(|member| header.contains_key(**member)) {
            return Err(TokenError::Member(member));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
        let algorithm =
            algorithm.ok_or(TokenError::Header("`alg` is none of EdDSA, ES256, PS256, RS256"))?;
        let token_type = header.get("typ").and_then(Value::as_str);
        let token_type = token_type.ok_or(TokenError::Header("`typ` is missing or no text"))?;
        let printable = |kid: &&str| kid.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        let kid = header.get("kid").and_then(Value::as_str);
        let kid = kid
            .filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len()))
            .filter(printable)
            .ok_or(TokenError::Header("`kid` is no text of 1 to 128 printable characters"))?;
        let (kid, token_type) = (kid.to_owned(), plain_type(token_type));
        Ok(Self { signed, signature, algorithm, kid, token_type, claims })
    }
}

/// Base64url without padding and without spare bits, so that a token has one spelling.
fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| TokenError::Malformed("a segment is not base64url without padding"))
}

/// A JSON object without duplicate members, at any depth.
fn object(segment: &str) -> Result<Map<String, Value>, TokenError> {
    match json::parse(&decode(segment)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(TokenError::Malformed("a segment is no JSON object without duplicates")),
    }
}

fn check_audience(claims: &Map<String, Value>, issuer: &Issuer) -> Result<(), TokenError> {
    let named = match claims.get("aud") {
        Some(Value::String(one)) => *one == issuer.audience,
        Some(Value::Array(several)) => {
            if !several.iter().all(Value::is_string) {
                return Err(TokenError::Claim("aud"));
            }
            several.iter().any(|one| *one == issuer.audience)
        }
        _ => return Err(TokenError::Claim("aud")),
    };
    if named { Ok(()) } else { Err(TokenError::Audience) }
}

fn check_times(claims: &Map<String, Value>, issuer: &Issuer, now: i64) -> Result<(), TokenError> {
    let expires = time(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
    let begins = time(claims, "nbf")?.ok_or(TokenError::Claim("nbf"))?;
    let issued = time(claims, "iat")?;
    if now >= expires + issuer.leeway_s {
        return Err(TokenError::Expired);
    }
    let latest = now + issuer.leeway_s;
    if begins > latest || issued.is_some_and(|issued| issued > latest) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// A NumericDate in whole seconds. What is present and of another type is an error and not
/// "absent".
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_i64();
    let fraction = || value.as_f64().filter(|_| value.is_f64()).map(|seconds| seconds.floor());
    let seconds = whole.or_else(|| fraction().map(|seconds| seconds as i64));
    let seconds = seconds.filter(|seconds| (0..=NUMBER_MAX).contains(seconds));
    seconds.map(Some).ok_or(TokenError::Claim(name))
}

fn subject(claims: &Map<String, Value>) -> Result<&str, TokenError> {
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(TokenError::Claim("sub"))?;
    let plain = !subject.chars().any(char::is_control);
    if plain && (1..=SUBJECT_BYTES_MAX).contains(&subject.len()) {
        return Ok(subject);
    }
    Err(TokenError::Claim("sub"))
}
