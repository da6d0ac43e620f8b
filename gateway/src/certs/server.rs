//! The server's certificate, and when it is due.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::authority::{BEFORE, random_serial};
use super::{Authority, CertificateCard, CertsConfig, CertsError};
use crate::data_dir::{DataDir, Overwrite, read_private, write_private, write_public};

/// Where the server's certificate chain and key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerFiles {
    /// PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
}

impl ServerFiles {
    /// Those in the data directory.
    pub fn of(data: &DataDir) -> Self {
        let tls = data.tls();
        Self { certificate: tls.join("server.crt"), key: tls.join("server.key") }
    }
}

/// What a start found and did about the server's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prepared {
    /// There was none, or no key.
    Made,
    /// It was due, for this reason.
    Renewed(Due),
    /// It is good for a while.
    Kept,
    /// Our CA did not sign it, so it is not ours to renew; so many days are left.
    Foreign {
        /// Negative when it has expired.
        days_left: i64,
    },
}

/// Why a certificate is renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Few days are left.
    Expiry,
    /// Its names are not those that are configured.
    Names,
    /// It belongs to another key.
    Key,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expiry => "few days were left",
            Self::Names => "its names had changed",
            Self::Key => "it belonged to another key",
        })
    }
}

/// Makes what is missing and renews what is due: what every start does.
pub fn prepare(
    data: &DataDir,
    config: &CertsConfig,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Prepared, CertsError> {
    let files = ServerFiles::of(data);
    let present = super::read_text(&files.certificate)?
        .map(|pem| CertificateCard::from_pem(&pem, &files.certificate))
        .transpose()?;
    let authority = match Authority::open(data)? {
        Some(authority) => authority,
        None => Authority::make(data, &config.authority, now, Overwrite::Never)?,
    };
    let Some(card) = present else {
        issue(data, &authority, config, names, now)?;
        return Ok(Prepared::Made);
    };
    if !card.was_signed_by(authority.card()) {
        return Ok(Prepared::Foreign { days_left: card.days_left(now) });
    }
    let Some(due) = due(&card, &files.key, config, names, now)? else {
        return Ok(Prepared::Kept);
    };
    issue(data, &authority, config, names, now)?;
    Ok(Prepared::Renewed(due))
}

fn due(
    card: &CertificateCard,
    key_file: &Path,
    config: &CertsConfig,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Option<Due>, CertsError> {
    let key = read_private(key_file)?.map(|pem| super::read_key(&pem, key_file)).transpose()?;
    if !key.is_some_and(|key| card.belongs_to(&key)) {
        return Ok(Some(Due::Key));
    }
    let (mut have, mut want) = (card.names.clone(), names.to_vec());
    have.sort();
    want.sort();
    if have != want {
        return Ok(Some(Due::Names));
    }
    let is_old = card.days_left(now) < config.server.renew_days.into();
    Ok(is_old.then_some(Due::Expiry))
}

/// Writes a new certificate for the key that is there, or for a new one.
pub fn issue(
    data: &DataDir,
    authority: &Authority,
    config: &CertsConfig,
    names: &[String],
    now: OffsetDateTime,
) -> Result<(), CertsError> {
    if authority.card().not_after <= now {
        return Err(CertsError::AuthorityExpired(Authority::certificate_file(data)));
    }
    let files = ServerFiles::of(data);
    let key = match read_private(&files.key)? {
        Some(pem) => super::read_key(&pem, &files.key)?,
        None => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            write_private(&files.key, key.serialize_pem().as_bytes(), Overwrite::Never)?;
            key
        }
    };
    let mut params = leaf(names)?;
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()));
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - BEFORE;
    let wanted = now + Duration::days(config.server.lifetime_days.get().into());
    // a certificate that outlives its CA fails with a puzzling error
    params.not_after = wanted.min(authority.card().not_after);
    let certificate = params.signed_by(&key, &authority.issuer)?;
    write_public(&files.certificate, certificate.pem().as_bytes())?;
    Ok(())
}

/// What a server's certificate and a request for one have in common.
pub(super) fn leaf(names: &[String]) -> Result<CertificateParams, CertsError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let main = names.first().map_or("hanse", String::as_str);
    params.distinguished_name.push(DnType::CommonName, main);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}
