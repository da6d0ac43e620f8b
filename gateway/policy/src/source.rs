//! The text of a policy file, and errors that point into it.

use std::ops::Range;

/// A policy file is wrong. Nothing of the set is used then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct PolicyError {
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// One file.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> PolicyError {
        PolicyError { file: self.file.into(), line: self.line(span.start), message: message.into() }
    }

    pub fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, PolicyError> {
        toml::from_str(self.text).map_err(|error| {
            let message = error.message().trim_end().replace('\n', "; ");
            self.error(error.span().unwrap_or(0..0), with_hint(&message))
        })
    }
}

/// Adds the closest known name to serde's message about an unknown field, which names the
/// field and the known ones between backticks.
fn with_hint(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next().filter(|_| message.starts_with("unknown field")) else {
        return message.into();
    };
    match closest(unknown, names) {
        Some(name) => format!("unknown field `{unknown}`; did you mean `{name}`?"),
        None => message.into(),
    }
}

/// The known name with the fewest typing errors, if it is near enough to have been meant.
pub(crate) fn closest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // an unreasonably long name is no typing error, and the distance takes quadratic time
    let unknown = Some(unknown).filter(|name| name.len() <= 64)?;
    let near = known.into_iter().map(|name| (distance(unknown, name), name));
    let (distance, name) = near.min()?;
    (distance <= 1 + name.len() / 4).then_some(name)
}

/// Levenshtein's distance over bytes, ignoring case.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
