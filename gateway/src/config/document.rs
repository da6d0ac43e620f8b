//! A TOML file and its text, so that any complaint can name the line.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::ConfigError;

/// No configuration file is longer than this many bytes.
const BYTES_MAX: u64 = 4 << 20;

/// A configuration file that was read.
pub struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Takes a text that has been read already; `file` is the name that complaints give.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// Reads a file. `hint` says what to do when it is not there.
    pub fn read(file: &Path, hint: &str) -> Result<Self, ConfigError> {
        let text = read_bounded(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            hint: (source.kind() == io::ErrorKind::NotFound).then(|| hint.to_owned()),
            source,
        })?;
        Ok(Self::new(file, text))
    }

    /// The folder that relative paths in the file start from.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Parses the whole file.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message().trim().replace('\n', ", ");
            let hint = hint_for(&message);
            self.complain(error.span().unwrap_or(0..0), message, hint)
        })
    }

    /// A complaint about the bytes at `span`.
    pub fn complain(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError::Wrong {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
            hint,
        }
    }
}

fn read_bounded(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("the file is longer than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// What may have been meant: for a name that is not known, the closest of those that are.
fn hint_for(message: &str) -> Option<String> {
    if message.starts_with("unknown field") {
        // serde's own words: unknown field `x`, expected one of `a`, `b`
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = quoted.next()?;
        return closest(unknown, quoted).map(|known| format!("did you mean `{known}`?"));
    }
    if message == "missing field `sha256`" {
        return Some("`sha256sum FILE` prints it".into());
    }
    None
}

/// The known name that differs least, when it is close enough to be a slip.
pub(super) fn closest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(wanted, name);
    known
        .into_iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|name| likeness(name) > 0.75)
}
