//! The gateway: terminates TLS, knows who calls, decides by policy where the work may run,
//! writes evidence and speaks the OpenAI API.
//!
//! Read `pipeline` first: it is the path of a request. Everything that a start needs
//! (configuration, models, certificates, the data directory) is joined in `commands::serve`.

// set-up: what is read and made before the first connection
pub mod certs;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data_dir;
pub mod models;
mod progress;

// who calls
pub mod identity;

// the path of a request
pub mod api;
pub mod error;
pub mod listener;
pub mod metrics;
pub mod pipeline;
pub mod reservation;
pub mod routing;
pub mod server;
pub mod telemetry;
