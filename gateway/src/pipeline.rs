//! The gateway's `pipeline`.
