//! The folder of policies, read for `policy`, which does no I/O itself.

use std::fs;
use std::io;
use std::path::Path;

use policy::Policies;

use super::{ConfigError, Document};

/// Reads `jurisdictions.toml` and `tenants/*.toml` of a folder, and checks them together.
pub fn load_policies(folder: &Path) -> Result<Policies, ConfigError> {
    let mut files = Vec::new();
    for part in ["", "tenants"] {
        let files_of_part = read_folder(&folder.join(part), part).map_err(|source| {
            let missing = source.kind() == io::ErrorKind::NotFound;
            let hint = missing.then(|| "name the folder with --policies; it holds tenants/".into());
            ConfigError::Read { file: folder.join(part), hint, source }
        })?;
        for name in files_of_part {
            let document = Document::read(&folder.join(&name), "it was there a moment ago")?;
            files.push((name, document.text().to_owned()));
        }
    }
    Policies::parse(files).map_err(|error| ConfigError::Policy {
        file: folder.join(&error.file),
        line: error.line,
        message: error.message,
    })
}

/// Names of the TOML files, relative to the folder of policies and sorted. Hidden ones are
/// editors' and Kubernetes' own.
fn read_folder(folder: &Path, part: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") && !name.starts_with('.') {
            let path = Path::new(part).join(name);
            names.push(path.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");

    fn copy() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tenants")).unwrap();
        for name in ["jurisdictions.toml", "tenants/development.toml"] {
            fs::copy(Path::new(SHIPPED).join(name), folder.path().join(name)).unwrap();
        }
        folder
    }

    #[test]
    fn the_shipped_policies_hold() {
        let policies = load_policies(Path::new(SHIPPED)).unwrap();
        assert!(policies.tenant(&"development".parse().unwrap()).is_some());
    }

    #[test]
    fn a_mistake_is_named_with_file_and_line() {
        let folder = copy();
        let file = folder.path().join("tenants/development.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("enabled = true", "enabled = 7")).unwrap();
        let error = load_policies(folder.path()).unwrap_err().to_string();
        let line = 1 + text.lines().position(|line| line == "enabled = true").unwrap();
        assert!(error.starts_with(&format!("{}:{line}: ", file.display())), "{error}");
    }

    #[test]
    fn hidden_files_are_not_read_and_missing_folders_are_errors() {
        let folder = copy();
        fs::write(folder.path().join("tenants/.#new.toml"), "not TOML").unwrap();
        fs::create_dir(folder.path().join("..2026_11_24")).unwrap();
        load_policies(folder.path()).unwrap();
        let error = load_policies(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("--policies"), "{error}");
    }
}
