//! `gateway worker`.

/// Arguments of `gateway worker`.
#[derive(clap::Args, Debug)]
pub struct WorkerArgs {}

/// Does it.
pub fn run(_args: WorkerArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway worker` is not built yet")
}
