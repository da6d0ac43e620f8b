//! `gateway models`: weights, before a start or without one.

use anyhow::bail;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;

use super::{DataArg, ModelsArg};
use crate::config::{ModelConfig, ModelsConfig};
use crate::data_dir::DataDir;
use crate::models::{FetchError, HubSettings, ModelStore};

/// Arguments of `gateway models`.
#[derive(Args, Debug)]
pub struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Fetch what is missing, and hold everything against its digest
    Pull(Selection),
    /// Show every model, where it comes from and whether it is there
    List(Selection),
    /// Hold what is there against its digest; fetch nothing
    Verify(Selection),
}

#[derive(Args, Debug)]
struct Selection {
    #[command(flatten)]
    models: ModelsArg,
    #[command(flatten)]
    data: DataArg,
    /// Only these models
    #[arg(value_name = "MODEL")]
    ids: Vec<String>,
}

impl Selection {
    fn load(&self) -> anyhow::Result<Vec<ModelConfig>> {
        let ModelsConfig { mut models, .. } = self.models.load()?;
        let is_known = |id: &&String| models.iter().any(|model| model.id.as_str() == **id);
        if let Some(unknown) = self.ids.iter().find(|id| !is_known(id)) {
            bail!("there is no model `{unknown}` in {}", self.models.models.display());
        }
        if !self.ids.is_empty() {
            models.retain(|model| self.ids.iter().any(|id| id == model.id.as_str()));
        }
        Ok(models)
    }
}

/// Does it.
pub fn run(args: ModelsArgs) -> anyhow::Result<()> {
    match args.action {
        Action::Pull(selection) => pull(&selection),
        Action::List(selection) => list(&selection),
        Action::Verify(selection) => verify(&selection),
    }
}

fn pull(selection: &Selection) -> anyhow::Result<()> {
    let models = selection.load()?;
    let store = ModelStore::of(&DataDir::create(&selection.data.data)?);
    let hub = HubSettings::from_env()?;
    for model in &models {
        let weights = store.pull(model, &hub)?;
        println!("{}: {} is right", model.id.as_str(), weights.file.display());
    }
    Ok(())
}

fn list(selection: &Selection) -> anyhow::Result<()> {
    let models = selection.load()?;
    // a folder that is not there holds nothing: listing makes none
    let store = DataDir::open(&selection.data.data).ok().map(|data| ModelStore::of(&data));
    for model in &models {
        let bytes = store.as_ref().and_then(|store| store.bytes(model));
        let state = bytes.map_or("missing".into(), |bytes| HumanBytes(bytes).to_string());
        println!("{:<32} {:>12}  {}", model.id.as_str(), state, model.source);
    }
    Ok(())
}

fn verify(selection: &Selection) -> anyhow::Result<()> {
    let models = selection.load()?;
    let store = ModelStore::of(&DataDir::open(&selection.data.data)?);
    let mut wrong = 0;
    for model in &models {
        match store.verify(model) {
            Ok(weights) => println!("{}: {} is right", model.id.as_str(), weights.file.display()),
            Err(FetchError::Io { path, source, .. }) => {
                println!("{}: cannot read {}: {source}", model.id.as_str(), path.display());
                wrong += 1;
            }
            Err(error) => {
                println!("{}: {error}", model.id.as_str());
                wrong += 1;
            }
        }
    }
    if wrong > 0 {
        bail!(
            "{wrong} of {} models cannot be used; `gateway models pull` fetches them",
            models.len()
        );
    }
    Ok(())
}
