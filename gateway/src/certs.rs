//! The gateway's `certs`.
