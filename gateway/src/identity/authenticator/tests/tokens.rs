//! Tokens that are really signed, good ones and every bad one that we know of.

use std::fmt::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use expect_test::{ExpectFile, expect_file};
use serde_json::json;

use super::signing::*;
use super::*;
use crate::identity::PrincipalKind;

fn authenticate(token: &str) -> Result<Principal, AuthError> {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    let authenticator = AUTHENTICATOR.get_or_init(|| {
        let (_folder, data) = data();
        let (a, b) = good_jwks();
        Authenticator::new(data, issuers(IDENTITY, &a, &b).unwrap()).unwrap()
    });
    authenticator.authenticate_at(&headers(&[&format!("Bearer {token}")]), NOW)
}

/// One line for each token: its name and what is said of it.
fn check(tokens: &[(&str, String)], expected: ExpectFile) {
    let mut text = String::new();
    for (name, token) in tokens {
        match authenticate(token) {
            Ok(principal) => writeln!(text, "{name}: {principal:?}").unwrap(),
            Err(error) => {
                let said = error.to_string();
                assert!(!said.contains("agent-7") && !said.contains("evil"), "{said}");
                writeln!(text, "{name}: {said}").unwrap();
            }
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn good_tokens_of_each_algorithm() {
    let header =
        |alg: &str, typ: &str, kid: &str| json!({"alg": alg, "typ": typ, "kid": kid}).to_string();
    let a = claims().to_string();
    let mut b = claims();
    b["iss"] = json!("https://b.example");
    b["org"] = json!("works-2");
    b["aud"] = json!(["other", "hanse"]);
    let b = b.to_string();
    let principal = authenticate(&signed(By::Ed, HEADER, &a)).unwrap();
    assert_eq!((principal.tenant().as_str(), principal.subject()), ("clinic", "agent-7"));
    assert_eq!((principal.key(), principal.kind()), ("key-1", PrincipalKind::Jwt));
    for (by, header, claims) in [
        (By::Ed, header("EdDSA", "at+jwt", "key-1"), &a),
        (By::Ed, header("EdDSA", "application/AT+JWT", "key-1"), &a),
        (By::Ec, header("ES256", "at+jwt", "key-2"), &a),
        (By::Ps, header("PS256", "at+jwt", "key-3"), &a),
        (By::OtherEd, header("EdDSA", "JWT", "key-1"), &b),
        (By::Rs, header("RS256", "jwt", "key-3"), &b),
    ] {
        let principal = authenticate(&signed(by, &header, claims)).unwrap();
        assert_eq!(principal.subject(), "agent-7", "{header}");
    }
}

const HEADERS: [&str; 33] = [
    r#"{"alg":"none","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"None","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"HS256","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"HS512","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"eddsa","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"EdDSA ","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"es256","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"ES384","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":["EdDSA"],"typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":null,"typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":1,"typ":"at+jwt","kid":"key-1"}"#,
    r#"{"typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"ES256","typ":"at+jwt","kid":"key-1"}"#,
    r#"{"alg":"RS256","typ":"at+jwt","kid":"key-3"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","jku":"https://evil.example"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","jwk":{}}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","x5u":"https://evil.example"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","x5c":[]}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","crit":["exp"]}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","b64":false}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","zip":"DEF"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","enc":"A256GCM"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1","cty":"JWT"}"#,
    r#"{"alg":"EdDSA","typ":"JWT","kid":"key-1"}"#,
    r#"{"alg":"EdDSA","typ":["at+jwt"],"kid":"key-1"}"#,
    r#"{"alg":"EdDSA","kid":"key-1"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":""}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":7}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"key-1\n"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../../dev/null"}"#,
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"KEY-1"}"#,
    r#"{"alg":"HS256","alg":"EdDSA","typ":"at+jwt","kid":"key-1"}"#,
];

#[test]
fn headers_that_choose_how_they_are_checked() {
    let claims = claims().to_string();
    let long = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k".repeat(129)}).to_string();
    let headers = HEADERS.iter().copied().chain([long.as_str()]);
    let tokens: Vec<(&str, String)> =
        headers.map(|header| (header, signed(By::Ed, header, &claims))).collect();
    check(&tokens, expect_file!["./said/headers.txt"]);
}

#[test]
fn texts_that_are_no_compact_jwt() {
    let token = signed(By::Ed, HEADER, &claims().to_string());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let spare = {
        // 64 bytes leave four spare bits in the last of 86 characters
        let mut spare = signature.to_owned();
        let last = spare.pop().unwrap();
        spare.push(char::from(last as u8 + 1));
        spare
    };
    let padded = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(signature).unwrap());
    let flattened = json!({"protected": header, "payload": payload, "signature": signature});
    let tokens = [
        ("one segment", "a.".into()),
        ("two segments", message.into()),
        ("four segments", format!("{token}.{signature}")),
        ("five segments", format!("{token}.{signature}.{signature}")),
        ("no signature", format!("{message}.")),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("padded", format!("{message}.{padded}")),
        ("spare bits", format!("{message}.{spare}")),
        ("standard alphabet", format!("{message}.{}+/", &signature[2..])),
        ("flattened JSON", flattened.to_string()),
        ("too long", signed(By::Ed, HEADER, &format!("{{\"x\":\"{}\"}}", "y".repeat(7000)))),
        ("array header", signed(By::Ed, "[]", &claims().to_string())),
        ("header is no JSON", signed(By::Ed, "{", &claims().to_string())),
        ("claims are no UTF-8", format!("{header}.{}.{signature}", encoded([0xff]))),
        ("claims are a text", signed(By::Ed, HEADER, "\"iss\"")),
    ];
    check(&tokens, expect_file!["./said/texts.txt"]);
}

#[test]
fn signatures_that_are_not_the_issuers() {
    let text = claims().to_string();
    let header =
        |alg: &str, kid: &str| json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string();
    let good = signed(By::Ed, HEADER, &text);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut other = claims();
    other["tenant"] = json!("evil");
    let swapped = format!("{}.{}.{signature}", encoded(HEADER), encoded(other.to_string()));
    let zeros = format!("{message}.{}", encoded([0; 64]));
    let short = format!("{message}.{}", encoded([1; 63]));
    // the public key as the secret of an HMAC
    let secret = encoded(signers().ed.public_key());
    let hmac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let forged = format!("{}.{}", encoded(header("HS256", "key-1")), encoded(&text));
    let tag = aws_lc_rs::hmac::sign(&hmac_key, forged.as_bytes());
    let mut as_a = claims();
    as_a["iss"] = json!("https://a.example");
    let tokens = [
        ("claims swapped", swapped),
        ("zeros", zeros),
        ("short", short),
        ("HMAC under the public key", format!("{forged}.{}", encoded(tag))),
        ("issuer B as A, same kid", signed(By::OtherEd, HEADER, &as_a.to_string())),
        ("PKCS #1 under a PSS key", signed(By::Rs, &header("PS256", "key-3"), &text)),
        ("RS256 under a PSS key", signed(By::Rs, &header("RS256", "key-3"), &text)),
        ("EC under an Ed key", signed(By::Ec, &header("ES256", "key-1"), &text)),
        ("unknown kid", signed(By::Ed, &header("EdDSA", "key-9"), &text)),
        ("RSA key, EdDSA", signed(By::Ed, &header("EdDSA", "key-3"), &text)),
    ];
    check(&tokens, expect_file!["./said/signatures.txt"]);
}

/// A member of the claims and what it says instead; nothing is "absent". `NOW` is 1795512600,
/// the leeway 5 s.
const CHANGES: [(&str, &str); 38] = [
    ("iss", ""),
    ("iss", r#""https://a.example/""#),
    ("iss", r#""HTTPS://a.example""#),
    ("iss", r#"["https://a.example"]"#),
    ("iss", "null"),
    ("iss", r#""https://evil.example""#),
    ("aud", ""),
    ("aud", r#""hans""#),
    ("aud", r#""hanse2""#),
    ("aud", r#""Hanse""#),
    ("aud", "[]"),
    ("aud", r#"["other"]"#),
    ("aud", r#"["hanse",1]"#),
    ("aud", r#"{"hanse":1}"#),
    ("exp", ""),
    ("exp", "1795512595"),
    ("exp", "\"1999999999\""),
    ("exp", "null"),
    ("exp", "true"),
    ("exp", "-1"),
    ("exp", "1e999"),
    ("exp", "1e300"),
    ("exp", "[1999999999]"),
    ("nbf", ""),
    ("nbf", "1795512606"),
    ("nbf", "\"1\""),
    ("nbf", "null"),
    ("iat", "1795512606"),
    ("iat", "\"1\""),
    ("sub", ""),
    ("sub", r#""""#),
    ("sub", r#""a\nb""#),
    ("sub", "7"),
    ("tenant", ""),
    ("tenant", r#"["clinic"]"#),
    ("tenant", r#""Clinic""#),
    ("tenant", r#""../evil""#),
    ("cnf", r#"{"x5t#S256":"x"}"#),
];

/// Good claims but for one member, signed.
fn changed(member: &str, value: &str) -> String {
    let base = claims();
    let mut members = base.as_object().unwrap().clone();
    members.shift_remove(member);
    let mut text: Vec<String> =
        members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    if !value.is_empty() {
        text.push(format!("{member:?}:{value}"));
    }
    signed(By::Ed, HEADER, &format!("{{{}}}", text.join(",")))
}

#[test]
fn claims_that_are_not_acceptable() {
    let names = CHANGES.map(|(member, value)| format!("{member} = {value}"));
    let twice = claims().to_string().replacen('{', "{\"tenant\":\"evil\",", 1);
    let tokens: Vec<(&str, String)> = CHANGES
        .iter()
        .zip(&names)
        .map(|((member, value), name)| (name.as_str(), changed(member, value)))
        .chain([("tenant twice", signed(By::Ed, HEADER, &twice))])
        .collect();
    check(&tokens, expect_file!["./said/claims.txt"]);
    for (member, value) in [("exp", NOW - 4), ("nbf", NOW + 5), ("iat", NOW + 5)] {
        assert!(authenticate(&changed(member, &value.to_string())).is_ok(), "{member} in leeway");
    }
    assert!(authenticate(&changed("exp", &format!("{}.5", NOW + 9))).is_ok());
}

#[test]
fn without_issuers_no_token_is_taken() {
    let (_folder, data) = data();
    let authenticator = Authenticator::new(data, Issuers::none()).unwrap();
    let token = format!("Bearer {}", signed(By::Ed, HEADER, &claims().to_string()));
    let error = authenticator.authenticate_at(&headers(&[&token]), NOW).unwrap_err();
    assert_eq!(error.to_string(), "the token was refused: this gateway takes API keys only");
}
