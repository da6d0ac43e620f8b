//! The log as its users see it: files in a directory.
#![allow(clippy::unwrap_used)]

mod common;
mod durability;
mod format;
mod speed;
mod tampering;
