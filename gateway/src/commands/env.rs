//! `gateway env`.

/// Arguments of `gateway env`.
#[derive(clap::Args, Debug)]
pub struct EnvArgs {}

/// Does it.
pub fn run(_args: EnvArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway env` is not built yet")
}
