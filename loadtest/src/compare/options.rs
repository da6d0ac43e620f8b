//! What the command line of a comparison says.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::server::Server;
use super::workload::Workload;
use crate::options::seconds;

/// How servers are compared.
#[derive(Args, Debug)]
pub struct CompareOptions {
    /// A server, once for each: `name=NAME,url=URL` and, where it needs them, `,model=MODEL`
    /// (otherwise the first of its list), `,key-file=FILE`, `,ca=FILE` and `,process=PID` or
    /// `,process=NAME`, whose memory is measured with that of its children. Ratios are those of the
    /// first server to each other.
    #[arg(long = "server", value_name = "FIELDS", required = true)]
    pub servers: Vec<Server>,

    /// How often each workload is sent to each server.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,

    /// What is sent.
    #[arg(long, value_delimiter = ',', default_value = "decode,prefill,batch,agent")]
    pub workloads: Vec<Workload>,

    /// Seed of the prompts: the same seed asks the same. By default the time, because a server that
    /// has answered the same before may have it in its cache.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Seconds after which a request has failed.
    #[arg(long, default_value = "1200", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,

    /// Where all figures go as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Where the table goes as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}
