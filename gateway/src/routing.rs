//! The gateway's `routing`.
