//! One file per command: its arguments and what it does.

pub mod audit;
pub mod certs;
pub mod env;
pub mod keys;
pub mod models;
pub mod serve;
pub mod worker;
