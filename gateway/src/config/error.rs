//! Why a configuration cannot be used.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A file that cannot be used. A start that meets one ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read at all.
    #[error("cannot read {}{}", file.display(), Hint(.hint))]
    Read {
        /// The file.
        file: PathBuf,
        /// What to do.
        hint: Option<String>,
        /// Why.
        source: io::Error,
    },

    /// It says something wrong.
    #[error("{}:{line}:{column}: {message}{}", file.display(), Hint(.hint))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },

    /// A policy says something wrong.
    #[error("{}:{line}: {message}", file.display())]
    Policy {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong and what to write instead.
        message: String,
    },
}

struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}
