//! `gateway env`: shell exports that point an OpenAI client here. Makes and changes nothing.

use std::net::SocketAddr;

use clap::Args;

use super::DataArg;
use super::client_card::{ClientCard, base_url, last_base_url};
use super::serve::DEFAULT_LISTEN;
use crate::data_dir::DataDir;

/// Arguments of `gateway env`.
#[derive(Args, Debug)]
pub struct EnvArgs {
    #[command(flatten)]
    data: DataArg,
    /// Address of the gateway [default: where it serves now or did last, else 127.0.0.1:8443]
    #[arg(long, env = "HANSE_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Prints them.
pub fn run(args: EnvArgs) -> anyhow::Result<()> {
    let data = DataDir::open(&args.data.data)?;
    let url = match args.listen {
        Some(listen) => base_url(listen),
        None => last_base_url(&data).unwrap_or_else(|| base_url(DEFAULT_LISTEN)),
    };
    print!("{}", ClientCard::read(&data, url)?.exports());
    Ok(())
}
