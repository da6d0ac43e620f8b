//! What can go wrong with a template.

use std::error::Error as _;
use std::fmt;

use minijinja::ErrorKind;

/// The first five are found when a template is compiled, the others when it is rendered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is none. Completions need none.
    #[error(
        "the model has no chat template; configure one for it, or use completions instead of chat"
    )]
    Absent,

    /// Too long a source.
    #[error("the chat template has {bytes} bytes, at most {limit} are accepted")]
    SourceTooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        limit: usize,
    },

    /// Too deep a source.
    #[error("line {line} of the chat template is nested or chained too deep (over {limit})")]
    TooDeep {
        /// Where.
        line: usize,
        /// The bound.
        limit: usize,
    },

    /// Not a template.
    #[error("line {line} of the chat template: {message}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },

    /// The control tokens cannot be searched for.
    #[error("the control tokens' texts are too many or too long")]
    Control,

    /// The template refuses the conversation (`raise_exception`); the text is the template's.
    #[error("{0}")]
    Raised(String),

    /// The template cannot handle the conversation.
    #[error("the chat template failed on this conversation at its line {line}: {message}")]
    Failed {
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },

    /// More work than is allowed.
    #[error("the chat template needs too much work for this conversation; shorten it")]
    OutOfFuel,

    /// A longer rendering than is allowed.
    #[error("the rendered conversation has more than {limit} bytes; shorten it")]
    OutputTooLong {
        /// The bound.
        limit: usize,
    },

    /// Every character that could serve as a marker occurs in the conversation.
    #[error("the conversation contains every private-use character")]
    NoMarker,
}

/// What `raise_exception` was called with; travels inside minijinja's error.
#[derive(Debug)]
pub struct Exception(pub String);

impl fmt::Display for Exception {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Exception {}

impl TemplateError {
    pub(super) fn of_compiling(error: &minijinja::Error) -> Self {
        Self::Syntax { line: error.line().unwrap_or(1), message: message(error) }
    }

    pub(super) fn of_rendering(error: &minijinja::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(Exception(message)) = cause.downcast_ref() {
                return Self::Raised(message.clone());
            }
            source = cause.source();
        }
        match error.kind() {
            ErrorKind::OutOfFuel => Self::OutOfFuel,
            _ => Self::Failed { line: error.line().unwrap_or(1), message: message(error) },
        }
    }
}

fn message(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
