//! The log as its users see it: files in a directory.
#![allow(clippy::unwrap_used)]

mod durability;
mod fixtures;
mod format;
mod speed;
mod tampering;
