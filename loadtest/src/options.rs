//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::client::Endpoint;
use crate::compare::CompareOptions;

/// The most requests of one run.
pub const REQUESTS_MAX: u64 = 1_000_000;

/// Measures a server that speaks OpenAI's chat completions.
#[derive(Parser, Debug)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// One server, when there is no subcommand.
    #[command(flatten)]
    pub load: Options,
    /// What else can be done.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done beside measuring one server.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Measures several servers in turn with the same four workloads, and divides.
    Compare(CompareOptions),
}

/// How one server is measured.
#[derive(Parser, Clone, Debug)]
pub struct Options {
    /// Where the API is, `/v1` included.
    #[arg(long, env = "OPENAI_BASE_URL", default_value = "https://127.0.0.1:8443/v1")]
    pub base_url: String,

    /// The bearer key. Better from the environment than on the command line.
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    pub key: Option<String>,

    /// Certificates (PEM) to trust instead of the system's.
    #[arg(long, env = "SSL_CERT_FILE")]
    pub ca: Option<PathBuf>,

    /// The model; the first of `GET /models` when absent.
    #[arg(long)]
    pub model: Option<String>,

    /// HTTP version. With 2, all requests share connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub http: u8,

    /// Closed loop: how many clients, each waiting for its answer before it asks again.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub concurrency: u32,

    /// Closed loop: how many requests in all.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
    pub requests: u64,

    /// Open loop: requests per second on average, as a Poisson process.
    #[arg(long, requires = "duration", conflicts_with_all = ["concurrency", "requests"], value_parser = rate)]
    pub rate: Option<f64>,

    /// Open loop: for how many seconds requests are sent.
    #[arg(long, requires = "rate", value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,

    /// Open loop: requests in flight at most. Reaching it makes the client late, and so the run
    /// void.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16384))]
    pub in_flight_max: u32,

    /// Open loop: the run is void when more than 1 in 100 requests left later than this.
    #[arg(long, default_value_t = 50)]
    pub lag_ms_max: u64,

    /// Words of each prompt; about as many tokens.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub prompt_words: u32,

    /// `max_tokens` of each request.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub output_tokens: u32,

    /// Lets the model end its answers early. Without it every answer has `--output-tokens`
    /// tokens (`ignore_eos`), so that two servers do the same work.
    #[arg(long)]
    pub allow_eos: bool,

    /// Sampling temperature.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f32,

    /// Seed of prompts and arrival times: the same seed asks the same.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Requests sent one by one before the run, and not counted.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub warmup: u32,

    /// Seconds after which a request has failed.
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,

    /// Where the figures go as JSON, with the names that `vllm bench serve` uses.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Options {
    /// The server that they name.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            base_url: self.base_url.clone(),
            key: self.key.clone(),
            ca: self.ca.clone(),
            http: self.http,
            keeps_connections: true,
            timeout: self.timeout,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if !(rate > 0.0 && rate <= 10_000.0) {
        return Err("must be over 0 and at most 10000 requests a second".into());
    }
    Ok(rate)
}

/// A time on the command line, in seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if !(seconds > 0.0 && seconds <= 86_400.0) {
        return Err("must be over 0 and at most 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let line = std::iter::once(&"loadtest").chain(arguments);
        Options::try_parse_from(line).map_err(|error| error.to_string())
    }

    #[test]
    fn the_loops_exclude_each_other() {
        assert!(parse(&["--rate", "2", "--duration", "3"]).is_ok());
        assert!(parse(&["--rate", "2"]).unwrap_err().contains("--duration"));
        let both = ["--rate", "2", "--duration", "3", "--concurrency", "4"];
        assert!(parse(&both).unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for line in [
            ["--rate", "0", "--duration", "1"],
            ["--rate", "NaN", "--duration", "1"],
            ["--rate", "1", "--duration", "-1"],
            ["--rate", "1", "--duration", "inf"],
        ] {
            assert!(parse(&line).is_err(), "{line:?}");
        }
        assert!(parse(&["--requests", "0"]).is_err());
        assert!(parse(&["--http", "3"]).is_err());
    }
}
