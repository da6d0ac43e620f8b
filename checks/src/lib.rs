//! What the compiler does not check: who imports whom, how long things are, what may lie in
//! the repository.
//!
//! Each check is a function from plain data to complaints, so that its tests can hand it
//! something bad and see that it complains.

#![forbid(unsafe_code)]

pub mod imports;
pub mod links;
pub mod repository;
pub mod sizes;
pub mod source;
pub mod vocabulary;
