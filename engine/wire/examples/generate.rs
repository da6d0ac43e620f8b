//! Writes `src/generated.rs` anew from `proto/worker.proto`; no `protoc` is needed.
//!
//! `cargo run -p engine-wire --example generate`

use std::path::Path;

/// The Rust text of the protocol's messages, client and server.
pub fn generate() -> Result<String, Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile([root.join("worker.proto")], [&root])?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure().out_dir(out.path()).compile_fds(files)?;
    Ok(std::fs::read_to_string(out.path().join("hanse.worker.v1.rs"))?)
}

#[allow(dead_code, reason = "a test includes this file for `generate` alone")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated.rs");
    std::fs::write(path, generate()?)?;
    Ok(())
}
