//! The gateway's `api`.
