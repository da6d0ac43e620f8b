//! The gateway's `identity`.
