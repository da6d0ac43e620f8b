//! The name of a request's evidence.

use std::fmt;

use audit::Recorded;
use http::HeaderValue;

/// Names the entry of a decision, as `x-hanse-receipt` has it: with it a client can later ask
/// for the proof, and notices when another entry is put in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt(String);

impl From<&Recorded> for Receipt {
    fn from(recorded: &Recorded) -> Self {
        Self(recorded.receipt_name())
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Receipt {
    /// As the value of a header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).expect("digits and hyphens may stand in a header")
    }
}
