//! The gateway's `config`.
