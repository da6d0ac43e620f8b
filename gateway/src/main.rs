//! The gateway's binary: reads the command line, does one command, turns an error into a
//! message and an exit code.

use std::process::ExitCode;

use clap::Parser;
use gateway::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            gateway::cli::exit_code(&error)
        }
    }
}
