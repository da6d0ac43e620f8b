//! `gateway audit`.

/// Arguments of `gateway audit`.
#[derive(clap::Args, Debug)]
pub struct AuditArgs {}

/// Does it.
pub fn run(_args: AuditArgs) -> anyhow::Result<()> {
    anyhow::bail!("`gateway audit` is not built yet")
}
