//! What the text of an answer turns out to be.

/// One event. Indices of calls count from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutputEvent {
    /// More of the answer.
    Content(String),
    /// More of the reasoning.
    Reasoning(String),
    /// A call began.
    CallStarted {
        /// Which.
        index: usize,
        /// What the caller named it.
        id: String,
        /// The tool, one of those that were offered.
        name: String,
    },
    /// More of a call's arguments. Together they are the JSON text of an object.
    Arguments {
        /// Which call.
        index: usize,
        /// The text.
        text: String,
    },
    /// The call is whole.
    CallFinished {
        /// Which.
        index: usize,
    },
    /// The call will never be whole: it was cut off, or went wrong. Only where arguments are
    /// delivered as they come.
    CallAbandoned {
        /// Which.
        index: usize,
    },
}
