//! The command line. `serve` is what happens when no command is named.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::config::ConfigError;

/// A resident gateway for language models: OpenAI's API over TLS, with policy and evidence.
#[derive(Parser, Debug)]
#[command(name = "gateway", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` when absent.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The arguments of `serve`, so that they work without naming it.
    #[command(flatten)]
    pub serve: commands::serve::ServeArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Fetch what is missing, start the engine and serve (the default)
    Serve(commands::serve::ServeArgs),
    /// Print shell exports that point an OpenAI client at this gateway
    Env(commands::env::EnvArgs),
    /// Fetch, list and verify the models of models.toml
    Models(commands::models::ModelsArgs),
    /// Make, request, renew and show certificates
    Certs(commands::certs::CertsArgs),
    /// Make API keys
    Keys(commands::keys::KeysArgs),
    /// Check the audit log
    Audit(commands::audit::AuditArgs),
    /// Run one partition; the gateway starts these itself
    #[cfg(feature = "embedded")]
    #[command(hide = true)]
    Worker(commands::worker::WorkerArgs),
}

impl Cli {
    /// Does the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            None => commands::serve::run(self.serve),
            Some(Command::Serve(args)) => commands::serve::run(args),
            Some(Command::Env(args)) => commands::env::run(args),
            Some(Command::Models(args)) => commands::models::run(args),
            Some(Command::Certs(args)) => commands::certs::run(args),
            Some(Command::Keys(args)) => commands::keys::run(args),
            Some(Command::Audit(args)) => commands::audit::run(args),
            #[cfg(feature = "embedded")]
            Some(Command::Worker(args)) => commands::worker::run(args),
        }
    }
}

/// 2 for a configuration that cannot be used, as clap has it for a command line; 1 for
/// everything else.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
