//! The gateway's `models`.
