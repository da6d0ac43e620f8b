#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::{Duration, OffsetDateTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::*;
use crate::data_dir::{DataDir, Overwrite, write_private, write_public};

struct Place {
    _folder: tempfile::TempDir,
    data: DataDir,
    config: CertsConfig,
    now: OffsetDateTime,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(&folder.path().join("data")).unwrap();
        let config = CertsConfig::load(None).unwrap();
        // X.509 counts whole seconds
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        Self { _folder: folder, data, config, now }
    }

    fn names(&self) -> Vec<String> {
        self.config.server.all_names(Some("machine"))
    }

    fn prepare(&self) -> Prepared {
        prepare(&self.data, &self.config, &self.names(), self.now).unwrap()
    }

    fn server(&self) -> CertificateCard {
        card(&ServerFiles::of(&self.data).certificate)
    }

    /// Whether a client that trusts our CA takes the server for `name`.
    fn verify(&self, name: &str, at: OffsetDateTime) -> Result<(), rustls::Error> {
        let first = |file: &Path| CertificateDer::from_pem_file(file).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(first(&Authority::certificate_file(&self.data))).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let server = first(&ServerFiles::of(&self.data).certificate);
        let seconds = u64::try_from(at.unix_timestamp()).unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&server, &[], &name, &[], at).map(|_| ())
    }
}

fn card(file: &Path) -> CertificateCard {
    CertificateCard::from_pem(&fs::read_to_string(file).unwrap(), file).unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_makes_a_chain_that_clients_take() {
    let place = Place::new();
    assert_eq!(place.prepare(), Prepared::Made);
    for name in ["localhost", "127.0.0.1", "::1", "machine"] {
        place.verify(name, place.now).unwrap();
    }
    assert!(place.verify("example.org", place.now).is_err(), "a name that it does not have");
    assert!(place.verify("localhost", place.now + Duration::days(91)).is_err(), "expired");
    assert_eq!(mode(&Authority::key_file(&place.data)), 0o600);
    assert_eq!(mode(&ServerFiles::of(&place.data).key), 0o600);
    let server = place.server();
    assert_eq!(server.names, place.names());
    assert_eq!(server.days_left(place.now), 90);
    let authority = card(&Authority::certificate_file(&place.data));
    assert_eq!(authority.days_left(place.now), 3650);
    assert!(authority.subject.starts_with("CN=Hanse development CA "), "{}", authority.subject);
}

/// Python 3.13 and later refuse a certificate without these.
#[test]
fn strict_clients_find_every_extension() {
    let place = Place::new();
    place.prepare();
    let (server, authority) = (place.server(), card(&Authority::certificate_file(&place.data)));
    assert!(server.was_signed_by(&authority));
    assert!(!authority.was_signed_by(&server));
    let pem = fs::read(Authority::certificate_file(&place.data)).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign());
}

#[test]
fn a_second_start_changes_nothing() {
    let place = Place::new();
    place.prepare();
    let first = place.server();
    assert_eq!(place.prepare(), Prepared::Kept);
    assert_eq!(place.server(), first);
}

#[test]
fn it_is_renewed_before_it_expires_and_keeps_its_key() {
    let mut place = Place::new();
    place.prepare();
    let (first, key) = (place.server(), fs::read(ServerFiles::of(&place.data).key).unwrap());
    let start = place.now;
    place.now = start + Duration::days(60);
    assert_eq!(place.prepare(), Prepared::Kept);
    place.now = start + Duration::days(61);
    assert_eq!(place.prepare(), Prepared::Renewed(Due::Expiry));
    assert_eq!(place.server().days_left(place.now), 90);
    assert_ne!(place.server().fingerprint, first.fingerprint);
    assert_eq!(fs::read(ServerFiles::of(&place.data).key).unwrap(), key);
    place.verify("localhost", place.now + Duration::days(89)).unwrap();
}

#[test]
fn it_is_renewed_when_its_names_or_its_key_change() {
    let place = Place::new();
    place.prepare();
    let fewer = ["localhost".to_owned()];
    let renewed = prepare(&place.data, &place.config, &fewer, place.now).unwrap();
    assert_eq!(renewed, Prepared::Renewed(Due::Names));
    assert_eq!(place.server().names, fewer);
    fs::remove_file(ServerFiles::of(&place.data).key).unwrap();
    let renewed = prepare(&place.data, &place.config, &fewer, place.now).unwrap();
    assert_eq!(renewed, Prepared::Renewed(Due::Key));
    place.verify("localhost", place.now).unwrap();
}

#[test]
fn what_another_ca_signed_is_left_alone() {
    let (place, other) = (Place::new(), Place::new());
    place.prepare();
    other.prepare();
    let foreign = ServerFiles::of(&other.data);
    let files = ServerFiles::of(&place.data);
    write_public(&files.certificate, &fs::read(foreign.certificate).unwrap()).unwrap();
    write_private(&files.key, &fs::read(foreign.key).unwrap(), Overwrite::Replace).unwrap();
    let before = place.server();
    assert_eq!(place.prepare(), Prepared::Foreign { days_left: 90 });
    assert_eq!(place.server(), before);
}

#[test]
fn a_server_does_not_outlive_its_ca() {
    let mut place = Place::new();
    place.prepare();
    let start = place.now;
    place.now = start + Duration::days(3640);
    place.prepare();
    assert_eq!(place.server().days_left(place.now), 10);
    place.now = start + Duration::days(3651);
    let error = prepare(&place.data, &place.config, &place.names(), place.now).unwrap_err();
    assert!(matches!(error, CertsError::AuthorityExpired(_)), "{error}");
}

#[test]
fn damaged_files_are_named() {
    let place = Place::new();
    place.prepare();
    let prepare = || prepare(&place.data, &place.config, &place.names(), place.now).unwrap_err();
    let files = ServerFiles::of(&place.data);
    fs::write(&files.certificate, "not a certificate").unwrap();
    assert!(prepare().to_string().ends_with("server.crt is no certificate in PEM form"));
    fs::remove_file(&files.certificate).unwrap();
    fs::write(&files.key, "not a key").unwrap();
    assert!(prepare().to_string().ends_with("server.key is no private key in PEM form"));
    let key = KeyPair::generate().unwrap().serialize_pem();
    fs::write(Authority::key_file(&place.data), key).unwrap();
    assert!(prepare().to_string().contains("ca.crt does not belong to the key"));
    let before = fs::read(Authority::certificate_file(&place.data)).unwrap();
    fs::remove_file(Authority::key_file(&place.data)).unwrap();
    assert!(matches!(prepare(), CertsError::Half { .. }), "a CA without its key is not replaced");
    assert_eq!(fs::read(Authority::certificate_file(&place.data)).unwrap(), before);
}

#[test]
fn a_request_carries_its_names_and_never_replaces_a_key() {
    let place = Place::new();
    let names = ["ai.example.eu".to_owned(), "10.0.0.1".to_owned()];
    let files = request(&place.data, &names, Overwrite::Never).unwrap();
    assert_eq!(mode(&files.key), 0o600);
    let pem = fs::read(&files.request).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
    assert_eq!(request.certification_request_info.subject.to_string(), "CN=ai.example.eu");
    let extensions: Vec<String> =
        request.requested_extensions().unwrap().map(|extension| format!("{extension:?}")).collect();
    assert!(
        extensions.iter().any(|one| one.contains("DNSName(\"ai.example.eu\")")),
        "{extensions:?}"
    );
    let key = fs::read(&files.key).unwrap();
    assert!(super::request(&place.data, &names, Overwrite::Never).is_err());
    assert_eq!(fs::read(&files.key).unwrap(), key);
    super::request(&place.data, &names, Overwrite::Replace).unwrap();
    assert_ne!(fs::read(&files.key).unwrap(), key);
}
