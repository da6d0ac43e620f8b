//! The gateway's `listener`.
