//! One file per command: its arguments and what it does.

pub mod audit;
pub mod certs;
mod client_card;
pub mod env;
pub mod keys;
pub mod models;
mod paths;
pub mod serve;
#[cfg(feature = "embedded")]
pub mod worker;

pub use paths::{CertsArg, DataArg, ModelsArg};
