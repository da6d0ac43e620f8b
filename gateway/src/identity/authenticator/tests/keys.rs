use super::*;
use crate::identity::{KeyRing, NewKey, PrincipalKind};

fn new(expires: Option<i64>) -> NewKey {
    let (tenant, name) = ("clinic".parse().unwrap(), "batch job".into());
    NewKey { tenant, name, created: NOW, expires }
}

fn authenticator(data: &DataDir) -> Authenticator {
    Authenticator::new(data.clone(), Issuers::none()).unwrap()
}

fn with_key(authenticator: &Authenticator, key: &str, now: i64) -> Result<Principal, AuthError> {
    authenticator.authenticate_at(&headers(&[&format!("Bearer {key}")]), now)
}

#[test]
fn a_key_names_its_tenant() {
    let (_folder, data) = data();
    let key = KeyRing::create(&data, new(None)).unwrap();
    let authenticator = authenticator(&data);
    let principal = with_key(&authenticator, key.expose(), NOW).unwrap();
    assert_eq!(principal.tenant().as_str(), "clinic");
    assert_eq!((principal.subject(), principal.key()), ("batch job", key.id()));
    assert_eq!(principal.kind(), PrincipalKind::ApiKey);
    for scheme in ["bearer", "BEARER"] {
        let headers = headers(&[&format!("{scheme} {}", key.expose())]);
        assert!(authenticator.authenticate_at(&headers, NOW).is_ok());
    }
}

#[test]
fn a_key_may_have_a_header_of_its_own_and_two_credentials_must_be_one() {
    let (_folder, data) = data();
    let key = KeyRing::create(&data, new(None)).unwrap();
    let authenticator = authenticator(&data);
    let found = |bearers: &[&str], keys: &[&str]| {
        let mut headers = headers(bearers);
        for key in keys {
            headers.append(API_KEY, HeaderValue::from_bytes(key.as_bytes()).unwrap());
        }
        authenticator.authenticate_at(&headers, NOW).map(|principal| principal.key().to_owned())
    };
    let (key, id) = (key.expose(), key.id().to_owned());
    let bearer = format!("Bearer {key}");
    assert_eq!(found(&[], &[key]), Ok(id.clone()));
    assert_eq!(found(&[&bearer], &[key]), Ok(id));
    assert_eq!(found(&[&bearer], &["another"]), Err(AuthError::Several));
    assert_eq!(found(&["Bearer another"], &[key]), Err(AuthError::Several));
    assert_eq!(found(&[], &[key, key]), Err(AuthError::Several));
    assert_eq!(found(&["Basic abc"], &[key]), Err(AuthError::Scheme));
    for odd in ["", "a b", "\u{e9}", "another"] {
        assert_eq!(found(&[], &[odd]), Err(AuthError::InvalidKey), "{odd}");
    }
}

#[test]
fn headers_that_are_no_bearer_credential() {
    let (_folder, data) = data();
    let key = KeyRing::create(&data, new(None)).unwrap();
    let key = key.expose();
    let authenticator = authenticator(&data);
    let refused = |lines: &[&str]| authenticator.authenticate_at(&headers(lines), NOW).unwrap_err();
    let bearer = format!("Bearer {key}");
    assert_eq!(refused(&[]), AuthError::Missing);
    assert_eq!(refused(&[&bearer, &bearer]), AuthError::Several);
    for line in [
        key.to_owned(),
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Bearer  {key}"),
        format!("Bearer {key} "),
        format!("Bearer\t{key}"),
        format!("Basic {key}"),
        format!("Bearer, {key}"),
        format!("Bearer {key},Bearer {key}"),
        format!("Bearer {key}\u{e9}"),
    ] {
        let error = refused(&[&line]);
        assert!(matches!(error, AuthError::Scheme | AuthError::InvalidKey), "{line}: {error}");
    }
}

#[test]
fn keys_that_are_not_valid() {
    let (_folder, data) = data();
    let key = KeyRing::create(&data, new(None)).unwrap();
    let short = KeyRing::create(&data, new(Some(NOW + 10))).unwrap();
    let authenticator = authenticator(&data);
    let refused = |key: &str, now| with_key(&authenticator, key, now).unwrap_err();
    let other_secret = format!("{}{}", &key.expose()[..15], &short.expose()[15..]);
    for bad in [
        "x",
        "sk-0123456789",
        "hanse_",
        "hanse_00000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        &other_secret,
        &key.expose().to_uppercase(),
        &key.expose()[..key.expose().len() - 1],
    ] {
        let error = refused(bad, NOW);
        assert_eq!(error, AuthError::InvalidKey, "{bad}");
        assert!(!error.to_string().contains(bad));
    }
    assert!(with_key(&authenticator, short.expose(), NOW + 9).is_ok());
    assert_eq!(refused(short.expose(), NOW + 10), AuthError::ExpiredKey);
}

#[test]
fn a_revoked_key_stops_working_in_a_running_gateway() {
    let (_folder, data) = data();
    let key = KeyRing::create(&data, new(None)).unwrap();
    let authenticator = authenticator(&data);
    assert!(with_key(&authenticator, key.expose(), NOW).is_ok());
    KeyRing::revoke(&data, key.id(), NOW).unwrap();
    let later = KeyRing::create(&data, new(None)).unwrap();
    authenticator.look_at_keys_now();
    assert_eq!(with_key(&authenticator, key.expose(), NOW), Err(AuthError::RevokedKey));
    assert!(with_key(&authenticator, later.expose(), NOW).is_ok());

    // a damaged file changes nothing
    let file = data.keys().join("keys.json");
    std::fs::write(&file, "{").unwrap();
    authenticator.look_at_keys_now();
    assert!(with_key(&authenticator, later.expose(), NOW).is_ok());
    assert!(Authenticator::new(data, Issuers::none()).is_err(), "and no gateway starts with it");
}

#[test]
fn the_file_holds_no_key_and_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let (_folder, data) = data();
    let key = KeyRing::create(&data, new(None)).unwrap();
    let file = data.keys().join("keys.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(key.id()) && !text.contains(&key.expose()[15..]));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // with another secret, the same file knows no key
    let (_other_folder, other) = super::data();
    let copied = other.keys().join("keys.json");
    std::fs::copy(&file, &copied).unwrap();
    let authenticator = authenticator(&other);
    assert_eq!(with_key(&authenticator, key.expose(), NOW), Err(AuthError::InvalidKey));
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let (_folder, data) = data();
    KeyRing::create(&data, new(None)).unwrap();
    let file = data.keys().join("keys.json");
    let good = std::fs::read_to_string(&file).unwrap();
    let check = |text: String, expected: &str| {
        std::fs::write(&file, text).unwrap();
        let error = KeyRing::open(&data).err().expect("refused");
        let said = format!("{:#}", anyhow::Error::new(error));
        assert!(said.contains(expected), "{said}");
    };
    check(good.replace("\"format\": 1", "\"format\": 2"), "its format is 2");
    check(good.replace("clinic", "no such name"), "cannot be read");
    check(good.replace("\"revoked\"", "\"revocked\""), "unknown field `revocked`");
    let record = &good[good.find("    {").unwrap()..=good.rfind("    }").unwrap() + 4];
    check(good.replace(record, &format!("{record},\n{record}")), "is in it twice");
    for name in ["", "a\nb", &"x".repeat(129)] {
        assert!(KeyRing::create(&data, NewKey { name: name.into(), ..new(None) }).is_err());
    }
}
