//! A whole gateway over TLS, with an engine that does what a test says: every error code and
//! deny reason, the order of chunks, cancellation, evidence, and hostile clients.

#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
mod anthropic;
mod client;
mod completions;
mod edge;
mod embeddings;
mod engine;
mod evidence;
mod malformed;
mod refusals;
mod responses;
mod scene;
mod signals;
mod tokens;
mod traces;
