//! Who calls: from a credential to a [`Principal`], or to a refusal that says why.
//!
//! There are two kinds of credentials, both in `Authorization: Bearer`. API keys are made by
//! `gateway keys create` and kept only as keyed hashes ([`KeyRing`]). Tokens (JWT) come from
//! the issuers of identity.toml ([`Issuers`]). Neither ever makes a tenant: what policy does
//! not know is denied there.

mod api_key;
mod authenticator;
mod error;
mod issuers;
mod jwks;
mod key_ring;
mod live_keys;
mod principal;
mod token;

pub use api_key::ApiKey;
pub use authenticator::Authenticator;
pub use error::{AuthError, TokenError};
pub use issuers::{Issuer, Issuers};
pub use jwks::{Algorithm, JwksError};
pub use key_ring::{KeyRecord, KeyRing, KeyRingError, NewKey};
pub use principal::{Principal, PrincipalKind};
