//! Files that are not what they seem, and logits against other implementations.

#![allow(clippy::unwrap_used)]

mod damage;
mod logits;
