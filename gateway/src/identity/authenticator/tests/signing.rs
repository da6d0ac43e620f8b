//! Issuers with real keys.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

/// Keys of two issuers that use the same names for them.
pub struct Signers {
    pub ed: Ed25519KeyPair,
    pub other_ed: Ed25519KeyPair,
    pub ec: EcdsaKeyPair,
    pub rsa: RsaKeyPair,
}

pub fn signers() -> &'static Signers {
    static SIGNERS: OnceLock<Signers> = OnceLock::new();
    SIGNERS.get_or_init(|| Signers {
        ed: Ed25519KeyPair::generate().unwrap(),
        other_ed: Ed25519KeyPair::generate().unwrap(),
        ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    })
}

pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn ed_jwk(kid: &str, key: &Ed25519KeyPair) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig",
           "x": encoded(key.public_key())})
}

pub fn ec_jwk(kid: &str, key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256",
           "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
}

pub fn rsa_jwk(kid: &str, alg: &str, key: &RsaKeyPair) -> Value {
    let public = key.public_key();
    let (n, e) = (public.modulus(), public.exponent());
    json!({"kty": "RSA", "kid": kid, "alg": alg,
           "n": encoded(n.big_endian_without_leading_zero()),
           "e": encoded(e.big_endian_without_leading_zero())})
}

/// Which key signs, with which algorithm.
#[derive(Clone, Copy)]
pub enum By {
    Ed,
    OtherEd,
    Ec,
    Ps,
    Rs,
}

pub fn sign(by: By, message: &str) -> Vec<u8> {
    let (signers, random) = (signers(), SystemRandom::new());
    let rsa = |encoding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
        let mut signature = vec![0; 256];
        signers.rsa.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
        signature
    };
    match by {
        By::Ed => signers.ed.sign(message.as_bytes()).as_ref().to_vec(),
        By::OtherEd => signers.other_ed.sign(message.as_bytes()).as_ref().to_vec(),
        By::Ec => signers.ec.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        By::Ps => rsa(&RSA_PSS_SHA256),
        By::Rs => rsa(&RSA_PKCS1_SHA256),
    }
}

pub fn signed(by: By, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    format!("{message}.{}", encoded(sign(by, &message)))
}

pub const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1"}"#;

pub fn claims() -> Value {
    json!({"iss": "https://a.example", "aud": "hanse", "sub": "agent-7", "tenant": "clinic",
           "exp": NOW + 300, "nbf": NOW - 10, "iat": NOW - 10})
}

pub const IDENTITY: &str = r#"
[[issuers]]
issuer = "https://a.example"
audience = "hanse"
jwks = "a.json"
algorithms = ["EdDSA", "ES256", "PS256"]
tenant_claim = "tenant"
leeway_s = 5

[[issuers]]
issuer = "https://b.example"
audience = "hanse"
jwks = "b.json"
algorithms = ["EdDSA", "RS256"]
tenant_claim = "org"
token_types = ["JWT"]
"#;

pub fn issuers(identity: &str, a: &Value, b: &Value) -> Result<Issuers, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity.toml");
    std::fs::write(&file, identity).unwrap();
    std::fs::write(folder.path().join("a.json"), a.to_string()).unwrap();
    std::fs::write(folder.path().join("b.json"), b.to_string()).unwrap();
    let said = |error: crate::config::ConfigError| {
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    Issuers::read(&file).map_err(said)
}

pub fn good_jwks() -> (Value, Value) {
    let signers = signers();
    let a = json!({"keys": [
        ed_jwk("key-1", &signers.ed), ec_jwk("key-2", &signers.ec),
        rsa_jwk("key-3", "PS256", &signers.rsa)]});
    let b = json!({"keys": [
        ed_jwk("key-1", &signers.other_ed), rsa_jwk("key-3", "RS256", &signers.rsa)]});
    (a, b)
}
