//! What a certificate says.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::CertsError;

/// The parts of a certificate that operators and renewals look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateCard {
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// DNS names and addresses, in its own order.
    pub names: Vec<String>,
    /// First moment at which it is valid.
    pub not_before: OffsetDateTime,
    /// Last moment at which it is valid.
    pub not_after: OffsetDateTime,
    /// SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
    public_key: Vec<u8>,
    key_id: Vec<u8>,
    signer_key_id: Vec<u8>,
}

impl CertificateCard {
    /// Reads the first certificate of a PEM text; `file` is named in errors.
    pub fn from_pem(pem: &str, file: &Path) -> Result<Self, CertsError> {
        let unreadable = || CertsError::Unreadable(file.to_owned());
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| unreadable())?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).map_err(|_| unreadable())?;
        let validity = certificate.validity();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pem.contents);
        let (mut key_id, mut signer_key_id) = (Vec::new(), Vec::new());
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => key_id = id.0.to_vec(),
                ParsedExtension::AuthorityKeyIdentifier(authority) => {
                    signer_key_id =
                        authority.key_identifier.as_ref().map_or_else(Vec::new, |id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            fingerprint: digest.as_ref().try_into().expect("SHA-256 has 32 bytes"),
            public_key: certificate.public_key().raw.to_vec(),
            key_id,
            signer_key_id,
        })
    }

    /// Whether the key is the one in the certificate.
    pub fn belongs_to(&self, key: &KeyPair) -> bool {
        self.public_key == key.subject_public_key_info()
    }

    /// Whether it names `authority` as its signer.
    pub fn was_signed_by(&self, authority: &Self) -> bool {
        self.issuer == authority.subject
            && !authority.key_id.is_empty()
            && self.signer_key_id == authority.key_id
    }

    /// Whole days until it expires; negative when it has.
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_seconds().div_euclid(24 * 60 * 60)
    }

    /// As tools print it: `AB:CD:…`.
    pub fn fingerprint_text(&self) -> String {
        let pairs: Vec<String> = self.fingerprint.iter().map(|b| format!("{b:02X}")).collect();
        pairs.join(":")
    }
}

fn names(certificate: &X509Certificate) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension.value.general_names.iter().map(name).collect()
}

fn name(name: &GeneralName) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.map_or_else(|_| format!("{bytes:02x?}"), |address| address.to_string())
        }
        other => other.to_string(),
    }
}

/// One `name: value` a line, as `gateway certs show` prints it.
impl fmt::Display for CertificateCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  subject      {}", self.subject)?;
        writeln!(f, "  issuer       {}", self.issuer)?;
        if !self.names.is_empty() {
            writeln!(f, "  names        {}", self.names.join(", "))?;
        }
        writeln!(f, "  not before   {}", date(self.not_before))?;
        writeln!(f, "  not after    {}", date(self.not_after))?;
        write!(f, "  fingerprint  SHA-256 {}", self.fingerprint_text())
    }
}

fn date(moment: OffsetDateTime) -> String {
    moment.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
