//! `gateway serve`.

/// Arguments of `gateway serve`.
#[derive(clap::Args, Debug)]
pub struct ServeArgs {}

/// Does it.
pub fn run(_args: ServeArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway serve` is not built yet")
}
