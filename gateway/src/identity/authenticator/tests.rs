#![allow(clippy::unwrap_used)]
mod issuers;
mod keys;
mod signing;
mod tokens;

use http::HeaderValue;

use super::*;

pub(super) const NOW: i64 = 1_795_512_600;

pub(super) fn data() -> (tempfile::TempDir, DataDir) {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::create(&folder.path().join("data")).unwrap();
    (folder, data)
}

pub(super) fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}
