//! Whose tokens are taken: identity.toml.
//!
//! ```toml
//! [[issuers]]
//! issuer = "https://login.example.org/"   # exactly as in the tokens' `iss`
//! audience = "https://llm.example.org"    # must be in the tokens' `aud`
//! jwks = "login.jwks.json"                # public keys; a path from this file's folder
//! algorithms = ["EdDSA", "ES256"]         # also "PS256"; "RS256" only if it must be
//! tenant_claim = "tenant"                 # the claim that names the tenant
//! token_types = ["at+jwt"]                # the tokens' `typ`; some issuers write "JWT"
//! leeway_s = 30                           # how far clocks may differ, 0 to 300
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Deserialize;
use toml::Spanned;

use super::jwks::{self, Algorithm, VerifyingKey};
use crate::config::{ConfigError, Document};

/// The longest JWKS file, in bytes.
const JWKS_BYTES_MAX: u64 = 1 << 20;
const LEEWAY_S_MAX: i64 = 300;

/// An issuer whose tokens are taken.
pub struct Issuer {
    /// Exactly the tokens' `iss`.
    pub issuer: String,
    /// Must be in the tokens' `aud`.
    pub audience: String,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The tokens' `typ`, in lower case and without `application/`.
    pub token_types: Vec<String>,
    /// How far clocks may differ, in seconds.
    pub leeway_s: i64,
    pub(super) keys: HashMap<String, VerifyingKey>,
}

/// Every issuer.
pub struct Issuers {
    by_name: HashMap<String, Issuer>,
    digest: [u8; 32],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    issuers: Vec<IssuerTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerTable {
    issuer: Spanned<String>,
    audience: Spanned<String>,
    jwks: Spanned<String>,
    algorithms: Spanned<Vec<Spanned<String>>>,
    tenant_claim: Spanned<String>,
    token_types: Option<Spanned<Vec<String>>>,
    leeway_s: Option<Spanned<i64>>,
}

impl Issuers {
    /// No issuer: API keys only.
    pub fn none() -> Self {
        Self { by_name: HashMap::new(), digest: [0; 32] }
    }

    /// Reads identity.toml and the keys that it names.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let document = Document::read(file, "leave --identity out to take API keys only")?;
        let parsed: IdentityFile = document.parse()?;
        let mut issuers = Self::none();
        let mut context = Context::new(&SHA256);
        for table in parsed.issuers {
            let span = table.issuer.span();
            let issuer = issuer(&document, &table, &mut context)?;
            let name = issuer.issuer.clone();
            if issuers.by_name.insert(name, issuer).is_some() {
                return Err(document.complain(span, "this issuer is in the file twice", None));
            }
        }
        issuers.digest = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(issuers)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// SHA-256 over everything that was read, for the audit log; zeros when there is none.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The issuer of exactly this name.
    pub(super) fn get(&self, name: &str) -> Option<&Issuer> {
        self.by_name.get(name)
    }
}

fn issuer(
    document: &Document,
    table: &IssuerTable,
    context: &mut Context,
) -> Result<Issuer, ConfigError> {
    for (field, value) in [
        ("issuer", &table.issuer),
        ("audience", &table.audience),
        ("tenant_claim", &table.tenant_claim),
    ] {
        if value.get_ref().is_empty() {
            return Err(document.complain(value.span(), format!("`{field}` is empty"), None));
        }
    }
    let algorithms = algorithms(document, &table.algorithms)?;
    let text = read_jwks(document, &table.jwks)?;
    let keys = jwks::parse(&text, &algorithms).map_err(|error| {
        let message = format!("the keys in {} cannot be used: {error}", table.jwks.get_ref());
        document.complain(table.jwks.span(), message, None)
    })?;
    let issuer = Issuer {
        issuer: table.issuer.get_ref().clone(),
        audience: table.audience.get_ref().clone(),
        tenant_claim: table.tenant_claim.get_ref().clone(),
        token_types: token_types(document, table.token_types.as_ref())?,
        leeway_s: leeway_s(document, table.leeway_s.as_ref())?,
        keys,
    };
    let fields = format!(
        "{:?}",
        (
            &issuer.issuer,
            &issuer.audience,
            &issuer.tenant_claim,
            &issuer.token_types,
            issuer.leeway_s,
            &algorithms
        )
    );
    for part in [fields.as_bytes(), &text] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    Ok(issuer)
}

fn algorithms(
    document: &Document,
    list: &Spanned<Vec<Spanned<String>>>,
) -> Result<Vec<Algorithm>, ConfigError> {
    let mut algorithms = Vec::new();
    for item in list.get_ref() {
        let algorithm = Algorithm::from_name(item.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is no algorithm that is taken here", item.get_ref());
            let hint = "there are EdDSA, ES256, PS256, and RS256 where it must be";
            document.complain(item.span(), message, Some(hint.into()))
        })?;
        algorithms.push(algorithm);
    }
    if algorithms.is_empty() {
        return Err(document.complain(list.span(), "`algorithms` is empty", None));
    }
    Ok(algorithms)
}

fn read_jwks(document: &Document, path: &Spanned<String>) -> Result<Vec<u8>, ConfigError> {
    let file = document.folder().join(path.get_ref());
    let wrong = |why: String| {
        document.complain(path.span(), format!("cannot read {}: {why}", file.display()), None)
    };
    let length = fs::metadata(&file).map_err(|error| wrong(error.to_string()))?.len();
    if length > JWKS_BYTES_MAX {
        return Err(wrong(format!("it is longer than {JWKS_BYTES_MAX} bytes")));
    }
    fs::read(&file).map_err(|error| wrong(error.to_string()))
}

fn token_types(
    document: &Document,
    list: Option<&Spanned<Vec<String>>>,
) -> Result<Vec<String>, ConfigError> {
    let Some(list) = list else {
        return Ok(vec!["at+jwt".into()]);
    };
    if list.get_ref().is_empty() {
        return Err(document.complain(list.span(), "`token_types` is empty", None));
    }
    Ok(list.get_ref().iter().map(|name| plain_type(name)).collect())
}

/// Media types ignore case, and `application/` is left out by most (RFC 7515, section 4.1.9).
pub(super) fn plain_type(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("application/").unwrap_or(&name).into()
}

fn leeway_s(document: &Document, value: Option<&Spanned<i64>>) -> Result<i64, ConfigError> {
    let Some(value) = value else { return Ok(30) };
    if !(0..=LEEWAY_S_MAX).contains(value.get_ref()) {
        let message = format!("`leeway_s` must be between 0 and {LEEWAY_S_MAX}");
        return Err(document.complain(value.span(), message, None));
    }
    Ok(*value.get_ref())
}
