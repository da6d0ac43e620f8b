//! Files and folders that several commands name, each with its flag and variable.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::certs::CertsConfig;
use crate::config::{ConfigError, ModelsConfig};

/// The data directory.
#[derive(Args, Clone, Debug)]
pub struct DataArg {
    /// Folder for keys, certificates, weights and the audit log
    #[arg(long, env = "HANSE_DATA", value_name = "FOLDER", default_value = "data")]
    pub data: PathBuf,
}

/// What runs where.
#[derive(Args, Clone, Debug)]
pub struct ModelsArg {
    /// File of zones, models and partitions
    #[arg(long, env = "HANSE_MODELS", value_name = "FILE", default_value = "models.toml")]
    pub models: PathBuf,
}

impl ModelsArg {
    /// Reads and checks the file.
    pub fn load(&self) -> Result<ModelsConfig, ConfigError> {
        ModelsConfig::load(&self.models)
    }
}

/// Names and lifetimes of certificates.
#[derive(Args, Clone, Debug)]
pub struct CertsArg {
    /// File of certificate names and lifetimes [default: certs/certs.toml, else built in]
    #[arg(long, env = "HANSE_CERTS", value_name = "FILE")]
    pub certs: Option<PathBuf>,
}

impl CertsArg {
    /// Reads and checks the file, or takes what is built in.
    pub fn load(&self) -> Result<CertsConfig, ConfigError> {
        let usual = Path::new("certs/certs.toml");
        let file = self.certs.as_deref().or_else(|| usual.exists().then_some(usual));
        CertsConfig::load(file)
    }
}
