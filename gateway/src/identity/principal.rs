//! Who calls.

use policy::TenantId;

/// How a caller proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrincipalKind {
    /// With a key of this gateway.
    ApiKey,
    /// With a token of a configured issuer.
    Jwt,
}

/// Who calls. Only the [`super::Authenticator`] makes one, out of a credential that it
/// verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    tenant: TenantId,
    subject: String,
    key: String,
    kind: PrincipalKind,
}

impl Principal {
    pub(super) fn new(
        kind: PrincipalKind,
        tenant: TenantId,
        subject: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        Self { tenant, subject: subject.into(), key: key.into(), kind }
    }

    /// On whose behalf. Policy may not know it.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The name of the API key, or the `sub` of the token.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The public id of the API key, or the `kid` of the key that signed the token.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it was proved.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }
}
