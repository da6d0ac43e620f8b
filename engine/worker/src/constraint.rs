//! Grammars that answers have to follow.
//!
//! A grammar is compiled beside the steps (`serve/compiler.rs`) and kept for those who ask for it
//! again ([`Grammars`]). Each sequence gets a [`Guide`] of its own: it says which tokens may come
//! next, and takes the one that does. What it says depends on the tokens alone.

mod grammars;
mod guide;
mod recent;
mod shape;
mod vocabulary;

pub use grammars::Grammars;
pub use guide::Guide;
pub(crate) use guide::{Allowed, Lost};

#[cfg(test)]
mod tests;
