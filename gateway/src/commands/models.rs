//! `gateway models`.

/// Arguments of `gateway models`.
#[derive(clap::Args, Debug)]
pub struct ModelsArgs {}

/// Does it.
pub fn run(_args: ModelsArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway models` is not built yet")
}
