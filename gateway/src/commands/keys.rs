//! `gateway keys`.

/// Arguments of `gateway keys`.
#[derive(clap::Args, Debug)]
pub struct KeysArgs {}

/// Does it.
pub fn run(_args: KeysArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway keys` is not built yet")
}
