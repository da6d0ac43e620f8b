//! identity.toml and the sets of keys that it names.

use std::fmt::Write as _;

use expect_test::expect_file;
use serde_json::{Value, json};

use super::signing::*;

/// What is said of a set of keys in place of issuer A's.
fn said_of(keys: &Value) -> String {
    let (_, b) = good_jwks();
    issuers(IDENTITY, keys, &b).map_or_else(
        |error| error,
        |issuers| {
            let issuer = issuers.get("https://a.example").unwrap();
            let mut kids: Vec<&str> = issuer.keys.keys().map(String::as_str).collect();
            kids.sort_unstable();
            format!("{kids:?}")
        },
    )
}

#[test]
fn sets_of_keys() {
    let signers = signers();
    let ed = ed_jwk("e", &signers.ed);
    let with = |member: &str, value: Value| {
        let mut key = ed.clone();
        key[member] = value;
        json!({"keys": [key]})
    };
    let mut rsa = rsa_jwk("r", "PS256", &signers.rsa);
    rsa.as_object_mut().unwrap().remove("alg");
    let mut short_rsa = rsa.clone();
    short_rsa["n"] = json!(encoded([0xff; 128]));
    let mut other_curve = ec_jwk("c", &signers.ec);
    other_curve["crv"] = json!("P-384");
    other_curve["alg"] = json!("ES384");
    let encryption = json!({"kty": "RSA", "use": "enc", "kid": "x", "alg": "RSA-OAEP"});
    let sets = [
        ("no keys member", json!({})),
        ("array", json!([ed])),
        ("empty", json!({"keys": []})),
        ("others are left out", json!({"keys": [encryption, other_curve, ed, rsa]})),
        ("only others", json!({"keys": [encryption, other_curve]})),
        ("symmetric", json!({"keys": [{"kty": "oct", "kid": "s", "k": "AAAA"}]})),
        ("private", with("d", json!("AAAA"))),
        ("same kid", json!({"keys": [ed, ed]})),
        ("no kid", with("kid", json!(null))),
        ("short x", with("x", json!("AAAA"))),
        ("padded x", with("x", json!(format!("{}=", ed["x"].as_str().unwrap())))),
        ("alg of another type", with("alg", json!("ES256"))),
        ("alg is no text", with("alg", json!(1))),
        ("for signing only", with("key_ops", json!(["sign"]))),
        ("1024 bits", json!({"keys": [short_rsa]})),
        ("65 keys", json!({"keys": vec![ed.clone(); 65]})),
    ];
    let mut text = String::new();
    for (name, keys) in &sets {
        writeln!(text, "{name}: {}", said_of(keys)).unwrap();
    }
    expect_file!["./said/sets_of_keys.txt"].assert_eq(&text);
}

#[test]
fn identity_files() {
    let (a, b) = good_jwks();
    let mut text = String::new();
    for (from, to) in [
        ("", ""),
        ("audience", "audiance"),
        ("\"EdDSA\", \"ES256\", \"PS256\"", "\"HS256\""),
        ("\"EdDSA\", \"ES256\", \"PS256\"", ""),
        ("\"a.json\"", "\"missing.json\""),
        ("leeway_s = 5", "leeway_s = 301"),
        ("[\"JWT\"]", "[]"),
        ("\"https://b.example\"", "\"https://a.example\""),
        ("audience = \"hanse\"", "audience = \"\""),
    ] {
        let said = match issuers(&IDENTITY.replacen(from, to, 1), &a, &b) {
            Ok(_) => "good".into(),
            Err(error) => error,
        };
        writeln!(text, "{from} -> {to}: {said}").unwrap();
    }
    expect_file!["./said/identity_files.txt"].assert_eq(&text);
    let digest = |identity: &str| issuers(identity, &a, &b).unwrap().digest();
    assert_eq!(digest(IDENTITY), digest(&format!("# a comment{IDENTITY}")));
    assert_ne!(digest(IDENTITY), digest(&IDENTITY.replacen("leeway_s = 5", "leeway_s = 6", 1)));
    assert_ne!(digest(IDENTITY), issuers(IDENTITY, &b, &b).unwrap().digest());
}
