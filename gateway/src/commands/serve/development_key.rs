//! The key that a first start makes, so that a newcomer can call at once.

use anyhow::Context;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use policy::{Policies, TenantId};
use time::OffsetDateTime;

use crate::data_dir::{DataDir, Overwrite, read_private, write_private};
use crate::identity::{AuthError, Authenticator, Issuers, KeyRing, NewKey};

/// The tenant that it belongs to, where the policies have it.
const TENANT: &str = "development";

/// Makes the key where there is none, or where it is not known any more. Returns whether
/// there is one. A key that was revoked stays revoked.
pub(super) fn ensure(data: &DataDir, policies: &Policies) -> anyhow::Result<bool> {
    let tenant: TenantId = TENANT.parse().context("the development tenant has a name")?;
    if policies.tenant(&tenant).is_none() {
        return Ok(false);
    }
    let file = data.development_key();
    let over = match read_private(&file)? {
        None => Overwrite::Never,
        Some(key) => match check(data, &key)? {
            Ok(()) => return Ok(true),
            Err(AuthError::InvalidKey) => Overwrite::Replace,
            Err(error) => {
                eprintln!("the key in {} is not taken: {error}", file.display());
                return Ok(false);
            }
        },
    };
    let created = OffsetDateTime::now_utc().unix_timestamp();
    let new = NewKey { tenant, name: "made at the first start".into(), created, expires: None };
    let key = KeyRing::create(data, new)?;
    write_private(&file, key.expose().as_bytes(), over)?;
    eprintln!("made a key for the tenant `{TENANT}`: {}", file.display());
    Ok(true)
}

/// Whether the gateway would take the key.
fn check(data: &DataDir, key: &[u8]) -> anyhow::Result<Result<(), AuthError>> {
    let authenticator = Authenticator::new(data.clone(), Issuers::none())?;
    let header = [b"Bearer ", key.trim_ascii()].concat();
    let Ok(header) = HeaderValue::from_bytes(&header) else {
        return Ok(Err(AuthError::InvalidKey));
    };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
    Ok(authenticator.authenticate(&headers).map(|_| ()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TENANT_FILE: &str = include_str!("../../../../policies/tenants/development.toml");
    const GROUPS: &str = include_str!("../../../../policies/jurisdictions.toml");

    fn policies() -> Policies {
        let files = [("tenants/development.toml", TENANT_FILE), ("jurisdictions.toml", GROUPS)];
        Policies::parse(files).unwrap()
    }

    fn place() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(&folder.path().join("data")).unwrap();
        (folder, data)
    }

    #[test]
    fn it_is_made_once_and_works() {
        let (_folder, data) = place();
        assert!(ensure(&data, &policies()).unwrap());
        let key = fs::read(data.development_key()).unwrap();
        let mode = fs::metadata(data.development_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(check(&data, &key).unwrap().is_ok());
        assert!(ensure(&data, &policies()).unwrap());
        assert_eq!(fs::read(data.development_key()).unwrap(), key);
        assert_eq!(KeyRing::open(&data).unwrap().records().len(), 1);
    }

    #[test]
    fn one_that_is_not_known_any_more_is_made_again() {
        let (_folder, data) = place();
        ensure(&data, &policies()).unwrap();
        let key = fs::read(data.development_key()).unwrap();
        fs::remove_file(data.keys().join("keys.json")).unwrap();
        assert!(ensure(&data, &policies()).unwrap());
        assert_ne!(fs::read(data.development_key()).unwrap(), key);
    }

    #[test]
    fn one_that_was_revoked_stays_revoked() {
        let (_folder, data) = place();
        ensure(&data, &policies()).unwrap();
        let id = KeyRing::open(&data).unwrap().records()[0].id.clone();
        KeyRing::revoke(&data, &id, 1).unwrap();
        assert!(!ensure(&data, &policies()).unwrap());
        assert_eq!(KeyRing::open(&data).unwrap().records().len(), 1);
    }

    #[test]
    fn without_the_tenant_there_is_no_key() {
        let (_folder, data) = place();
        let other = TENANT_FILE.replace("\"development\"", "\"other\"");
        let files = [("tenants/other.toml", other.as_str()), ("jurisdictions.toml", GROUPS)];
        assert!(!ensure(&data, &Policies::parse(files).unwrap()).unwrap());
        assert!(!data.development_key().exists());
    }
}
