//! Several servers, the same work, in turn.
//!
//! A machine is not equally fast all day, so figures of two runs do not compare. Here each workload
//! goes to one server after the other, round by round, and figures are divided within a round.

mod figures;
mod markdown;
mod measurement;
mod memory;
mod options;
mod report;
mod server;
mod spread;
mod text;
mod workload;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use crate::client::{Client, Endpoint};
use memory::{Memory, Processes};
pub use options::CompareOptions;
use report::{Entry, Report};
use server::Server;
use text::Texts;
use workload::Asker;

/// A server that is there.
#[derive(Debug)]
struct Contestant {
    server: Server,
    asker: Asker,
    memory: Option<Memory>,
}

/// Measures what the options ask for, prints the table, and writes the files.
pub async fn run(options: &CompareOptions) -> anyhow::Result<()> {
    check(&options.servers)?;
    let seed = options.seed.unwrap_or_else(seed_of_now);
    let mut contestants = Vec::new();
    for server in &options.servers {
        let of_whom = || format!("the server `{}`", server.name);
        contestants.push(connect(server, options).await.with_context(of_whom)?);
    }
    let mut entries = Vec::new();
    for round in 0..options.rounds {
        let texts = Texts::of_round(seed, round);
        for workload in &options.workloads {
            for turn in 0..contestants.len() {
                // nobody is always the first to find the machine warm or cold
                let whose = (round as usize + turn) % contestants.len();
                let contestant = &mut contestants[whose];
                let name = contestant.server.name.clone();
                let of_what = || format!("{workload} of the server `{name}`");
                let measurement =
                    workload.measure(&contestant.asker, texts).await.with_context(of_what)?;
                if let Some(processes) = &contestant.server.processes {
                    let now = processes.memory().with_context(of_what)?;
                    contestant.memory = Some(contestant.memory.map_or(now, |old| old.max(now)));
                }
                let shown = workload.shown(&measurement);
                eprintln!("round {} of {}, {workload}: {name}: {shown}", round + 1, options.rounds);
                entries.push(Entry {
                    round: round + 1,
                    workload: *workload,
                    server: name,
                    measurement,
                });
            }
        }
    }
    finish(options, Report::new(seed, options, &contestants, entries))
}

fn check(servers: &[Server]) -> anyhow::Result<()> {
    if servers.len() < 2 {
        bail!("a comparison takes two servers or more: give --server for each");
    }
    for (i, server) in servers.iter().enumerate() {
        if servers[..i].iter().any(|other| other.name == server.name) {
            bail!("two servers are named `{}`", server.name);
        }
    }
    Ok(())
}

/// Finds the model, and sends one short request that is not counted.
async fn connect(server: &Server, options: &CompareOptions) -> anyhow::Result<Contestant> {
    // a name that is wrong is found before anything is measured
    let memory = server.processes.as_ref().map(Processes::memory).transpose()?;
    let key = server.key_file.as_deref().map(read_key).transpose()?;
    let client = Client::new(&Endpoint {
        base_url: server.url.clone(),
        key,
        ca: server.ca.clone(),
        http: 1,
        keeps_connections: false,
        timeout: options.timeout,
    })?;
    let model = match &server.model {
        Some(model) => model.clone(),
        None => client.first_model().await.context("no model was given and none was found")?,
    };
    let asker = Asker::new(client, model);
    asker.warm_up().await.context("the warm-up request failed")?;
    Ok(Contestant { server: server.clone(), asker, memory })
}

fn read_key(path: &Path) -> anyhow::Result<String> {
    let key = std::fs::read_to_string(path);
    let key = key.with_context(|| format!("cannot read the key from {}", path.display()))?;
    Ok(key.trim().to_string())
}

/// Another one for each run, so that no cache answers a second one.
fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}

fn finish(options: &CompareOptions, report: Report) -> anyhow::Result<()> {
    let table = markdown::render(&report);
    print!("{table}");
    let json = serde_json::to_string_pretty(&report).context("the report is plain data")? + "\n";
    for (path, text) in [(&options.json, &json), (&options.markdown, &table)] {
        let Some(path) = path else { continue };
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
