//! The gateway's `server`.
