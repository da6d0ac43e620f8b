//! A worker as a program of its own: what the gateway runs inside itself as `gateway worker`.

use clap::Parser;
use engine_worker::WorkerArgs;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs one model on one partition and serves it on a Unix socket.
#[derive(Parser)]
#[command(name = "engine", version)]
struct Engine {
    #[command(flatten)]
    worker: WorkerArgs,
}

fn main() -> anyhow::Result<()> {
    let engine = Engine::parse();
    // what goes to standard output is for programs; logs are JSON lines on standard error
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(
            EnvFilter::try_from_env("HANSE_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    engine_worker::run(engine.worker)
}
