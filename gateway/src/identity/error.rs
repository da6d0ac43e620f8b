//! Why a caller is not known. No message holds any part of a credential.

/// Why a request has no principal. Each is 401.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no credential.
    #[error("no API key was given; send `Authorization: Bearer <key>`")]
    Missing,
    /// There are several headers, and two readers could choose differently.
    #[error("there is more than one credential; send one `Authorization` or `x-api-key` header")]
    Several,
    /// Not a bearer credential.
    #[error("the `Authorization` header is not `Bearer <key>`")]
    Scheme,
    /// The key is not one of ours, or its secret part is wrong.
    #[error("the API key is not valid")]
    InvalidKey,
    /// The key was valid once.
    #[error("the API key has expired")]
    ExpiredKey,
    /// The operator took the key back.
    #[error("the API key was revoked")]
    RevokedKey,
    /// The token is not good.
    #[error("the token was refused: {0}")]
    Token(#[from] TokenError),
}

/// Why a token is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// No issuer is configured.
    #[error("this gateway takes API keys only")]
    NotConfigured,
    /// More than 8 KiB.
    #[error("it is longer than 8192 bytes")]
    TooLong,
    /// Not a signed JWT in compact form.
    #[error("it is not a signed JWT in compact serialization: {0}")]
    Malformed(&'static str),
    /// The header asks for something that is not done here.
    #[error("its header is not acceptable: {0}")]
    Header(&'static str),
    /// The header has a member that would choose keys, hide the payload or change what is
    /// signed.
    #[error("its header has `{0}`, which is not taken here")]
    Member(&'static str),
    /// No configured issuer has exactly this name.
    #[error("its issuer is not known")]
    UnknownIssuer,
    /// The issuer has no such key.
    #[error("its issuer has no key of this `kid`")]
    UnknownKey,
    /// The key is for another algorithm.
    #[error("its `alg` is not the one of the key")]
    WrongAlgorithm,
    /// The signature is not the issuer's.
    #[error("its signature is not valid")]
    Signature,
    /// A claim is absent or not of its type.
    #[error("its claim `{0}` is missing or not acceptable")]
    Claim(&'static str),
    /// It is for someone else.
    #[error("its audience is not this gateway")]
    Audience,
    /// `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` has not come.
    #[error("it is not valid yet")]
    NotYetValid,
}
