//! A load generator for anything that speaks OpenAI's chat completions.
//!
//! It is a client like any other: it knows the server only through HTTPS and shares no code
//! with it. A closed loop (`--concurrency`, `--requests`) asks how fast the server is when
//! clients wait for it; an open loop (`--rate`, `--duration`) asks how long users wait when they
//! come whether or not the server keeps up. Latency in the open loop counts from the moment at
//! which a request should have left, and the run is void if this program was too slow to send.
//! `compare` asks several servers in turn, and divides.

#![forbid(unsafe_code)]

mod arrivals;
mod chunk;
mod client;
mod compare;
mod options;
mod progress;
mod prompt;
mod report;
mod run;
mod sample;
mod sse;
mod statistics;
mod table;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::client::Client;
use crate::options::{Command, CommandLine, Options};
use crate::report::Report;

/// Every request failed, or the run could not start.
const EXIT_FAILED: u8 = 1;
/// This program was too slow: the figures say nothing about the server.
const EXIT_VOID: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let line = CommandLine::parse();
    let done = match line.command {
        Some(Command::Compare(options)) => compare::run(&options).await.map(|()| ExitCode::SUCCESS),
        None => measure(line.load).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn measure(options: Options) -> anyhow::Result<ExitCode> {
    let client = Client::new(&options.endpoint())?;
    let model = match &options.model {
        Some(model) => model.clone(),
        None => client.first_model().await.context("no --model was given and none was found")?,
    };
    let prompts = prompt::Prompts::new(&options, model.clone());
    let outcome = run::run(&options, client, prompts).await?;
    let report = Report::new(&options, &model, &outcome);
    print!("{}", table::render(&report));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report).context("the report is plain data")?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(reason) = &report.void {
        eprintln!("loadtest: the run is void: {reason}");
        return Ok(ExitCode::from(EXIT_VOID));
    }
    Ok(if report.completed == 0 { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}
