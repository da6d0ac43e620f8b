//! The development CA: for one machine, made at its first start.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::config::AuthorityConfig;
use super::{CertificateCard, CertsError};
use crate::data_dir::{DataDir, Overwrite, read_private, write_private, write_public};

/// Certificates begin a little before they are made, for clients whose clocks are behind.
pub(super) const BEFORE: Duration = Duration::hours(1);

/// A CA whose key is at hand.
pub struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    card: CertificateCard,
}

impl Authority {
    /// Where its certificate is: what clients trust.
    pub fn certificate_file(data: &DataDir) -> PathBuf {
        data.ca().join("ca.crt")
    }

    /// Where its key is.
    pub fn key_file(data: &DataDir) -> PathBuf {
        data.ca().join("ca.key")
    }

    /// Makes a key and a certificate, and writes both.
    pub fn make(
        data: &DataDir,
        config: &AuthorityConfig,
        now: OffsetDateTime,
        over: Overwrite,
    ) -> Result<Self, CertsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        let suffix = random_serial()[..4].iter().fold(String::new(), |s, b| format!("{s}{b:02x}"));
        let name = format!("{} {suffix}", config.common_name);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = KeyIdMethod::Sha256;
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()));
        params.not_before = now - BEFORE;
        params.not_after = now + Duration::days(config.lifetime_days.get().into());
        let certificate = params.self_signed(&key)?;
        // the key first: a certificate without its key would stop every later start
        write_private(&Self::key_file(data), key.serialize_pem().as_bytes(), over)?;
        write_public(&Self::certificate_file(data), certificate.pem().as_bytes())?;
        let card = CertificateCard::from_pem(&certificate.pem(), &Self::certificate_file(data))?;
        Ok(Self { issuer: Issuer::new(params, key), card })
    }

    /// The one that is there; `None` where there is none.
    pub fn open(data: &DataDir) -> Result<Option<Self>, CertsError> {
        let file = Self::certificate_file(data);
        let key_file = Self::key_file(data);
        let (pem, key) = match (super::read_text(&file)?, read_private(&key_file)?) {
            (Some(pem), Some(key)) => (pem, key),
            (None, None) => return Ok(None),
            // making a new CA here would silently cut off every client that trusts the old one
            (Some(_), None) => return Err(CertsError::Half { present: file, missing: key_file }),
            (None, Some(_)) => return Err(CertsError::Half { present: key_file, missing: file }),
        };
        let card = CertificateCard::from_pem(&pem, &file)?;
        let key = super::read_key(&key, &key_file)?;
        if !card.belongs_to(&key) {
            return Err(CertsError::Mismatch { certificate: file, key: key_file });
        }
        Ok(Some(Self { issuer: Issuer::from_ca_cert_pem(&pem, key)?, card }))
    }

    /// What its certificate says.
    pub fn card(&self) -> &CertificateCard {
        &self.card
    }
}

/// Positive and never repeated, RFC 5280 section 4.1.2.2.
pub(super) fn random_serial() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}
