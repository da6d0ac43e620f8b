//! Requests to a CA of the operator's own.

use std::path::PathBuf;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::CertsError;
use super::server::leaf;
use crate::data_dir::{DataDir, Overwrite, write_private, write_public};

/// A key and the request to sign it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestFiles {
    /// PEM, PKCS #10: what the CA gets.
    pub request: PathBuf,
    /// PEM, PKCS #8: what nobody gets.
    pub key: PathBuf,
}

/// Makes a key and a request with these names.
pub fn request(
    data: &DataDir,
    names: &[String],
    over: Overwrite,
) -> Result<RequestFiles, CertsError> {
    let tls = data.tls();
    let files = RequestFiles { request: tls.join("request.csr"), key: tls.join("request.key") };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = leaf(names)?.serialize_request(&key)?.pem()?;
    write_private(&files.key, key.serialize_pem().as_bytes(), over)?;
    write_public(&files.request, request.as_bytes())?;
    Ok(files)
}
