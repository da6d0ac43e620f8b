#![allow(clippy::unwrap_used)]

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn made() -> (tempfile::TempDir, DataDir) {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::create(&folder.path().join("data")).unwrap();
    (folder, data)
}

#[test]
fn only_the_owner_can_enter() {
    let (_folder, data) = made();
    assert_eq!(mode(data.root()), 0o700);
    assert_eq!(mode(&data.ca()), 0o700);
    fs::set_permissions(data.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let again = DataDir::create(data.root()).unwrap();
    assert_eq!(mode(again.root()), 0o700, "a folder that was open is closed");
}

#[test]
fn opening_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let error = DataDir::open(&root).unwrap_err();
    assert!(matches!(error, DataDirError::Missing(_)), "{error}");
    assert!(!root.exists());
}

#[test]
fn a_file_in_its_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    fs::write(&root, "").unwrap();
    assert!(DataDir::create(&root).is_err());
}

#[test]
fn one_gateway_at_a_time() {
    let (_folder, data) = made();
    let lock = data.lock().unwrap();
    let error = data.lock().unwrap_err();
    let id = std::process::id();
    assert!(matches!(error, DataDirError::InUse { holder: Some(holder), .. } if holder == id));
    assert!(error.to_string().contains("another gateway uses the data directory"), "{error}");
    drop(lock);
    data.lock().unwrap();
}

#[test]
fn private_files_are_private_and_not_replaced_by_accident() {
    let (_folder, data) = made();
    let file = data.keys().join("one.key");
    assert_eq!(read_private(&file).unwrap(), None);
    write_private(&file, b"first", Overwrite::Never).unwrap();
    assert_eq!(mode(&file), 0o600);
    let error = write_private(&file, b"second", Overwrite::Never).unwrap_err();
    assert!(matches!(error, DataDirError::Exists(_)), "{error}");
    assert_eq!(read_private(&file).unwrap().unwrap(), b"first");
    write_private(&file, b"second", Overwrite::Replace).unwrap();
    assert_eq!((mode(&file), read_private(&file).unwrap().unwrap()), (0o600, b"second".to_vec()));
    let left: Vec<_> = fs::read_dir(data.keys()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left");
}

#[test]
fn a_private_file_that_others_can_read_is_refused() {
    let (_folder, data) = made();
    let file = data.keys().join("one.key");
    write_private(&file, b"first", Overwrite::Never).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let error = read_private(&file).unwrap_err();
    assert!(matches!(error, DataDirError::Exposed { mode: 0o640, .. }), "{error}");
}

#[test]
fn secrets_are_made_once_and_differ() {
    let (_folder, data) = made();
    let first = data.secret(SecretName::KeyHash).unwrap();
    let again = data.secret(SecretName::KeyHash).unwrap();
    let other = data.secret(SecretName::CacheNamespace).unwrap();
    assert_eq!(first.as_bytes(), again.as_bytes());
    assert_ne!(first.as_bytes(), other.as_bytes());
    assert_eq!(format!("{first:?}"), "Secret(..)");
    let file = data.secret_file(SecretName::KeyHash);
    write_private(&file, b"short", Overwrite::Replace).unwrap();
    let error = data.secret(SecretName::KeyHash).unwrap_err();
    assert!(matches!(error, DataDirError::BadSecret(_)), "{error}");
}
