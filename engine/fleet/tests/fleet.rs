//! A fleet with real worker processes and a tiny model: everything that goes wrong between
//! them, and that nobody outside notices.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "fleet/answers.rs"]
mod answers;
#[path = "fleet/deaths.rs"]
mod deaths;
#[path = "fleet/embeddings.rs"]
mod embeddings;
#[path = "fleet/processes.rs"]
mod processes;
#[path = "fleet/readers.rs"]
mod readers;
#[path = "fleet/site.rs"]
mod site;

use clap::Parser;
use libtest_mimic::{Arguments, Failed, Trial};

#[derive(Parser)]
struct Worker {
    #[command(flatten)]
    args: engine_worker::WorkerArgs,
}

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("worker") => {
            let worker = Worker::parse_from(&arguments[1..]);
            if let Err(error) = engine_worker::run(worker.args) {
                eprintln!("{error:#}");
                std::process::exit(1);
            }
        }
        Some("host") => processes::host(),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit(),
    }
}

fn trials() -> Vec<Trial> {
    let mut trials = answers::trials();
    trials.extend(deaths::trials());
    trials.extend(embeddings::trials());
    trials.extend(processes::trials());
    trials.extend(readers::trials());
    trials
}

/// A test that runs on a runtime of its own.
fn trial<F: Future<Output = ()> + 'static>(name: &str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failed::from(error.to_string()))?;
        runtime.block_on(test());
        Ok(())
    })
}
