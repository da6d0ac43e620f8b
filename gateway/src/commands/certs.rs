//! `gateway certs`.

/// Arguments of `gateway certs`.
#[derive(clap::Args, Debug)]
pub struct CertsArgs {}

/// Does it.
pub fn run(_args: CertsArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway certs` is not built yet")
}
