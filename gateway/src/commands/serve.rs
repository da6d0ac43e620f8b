//! `gateway serve`: everything that a start needs, in order, and then the server.
//!
//! Configuration first, all of it, so that a mistake starts nothing; then the data directory,
//! the weights, the certificates and the key; then the audit log, the engine and the address.

mod development_key;
mod renewal;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use audit::Digest;
use clap::Args;
use engine_api::ModelId;
use engine_fleet::{FleetModel, WorkerCommand};
use policy::Policies;
use tokio::runtime::Runtime;

use super::client_card::{ClientCard, base_url};
use super::{CertsArg, DataArg, ModelsArg};
use crate::certs::{CertsConfig, ServerFiles};
use crate::config::{LimitsConfig, ModelsConfig, load_policies};
use crate::data_dir::{DataDir, write_public};
use crate::identity::Issuers;
use crate::models::{HubSettings, ModelStore};
use crate::server::{self, ServeConfig, Settings};
use crate::telemetry::{self, Service};

/// Where a gateway serves when nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// Where metrics are read when nothing else is said: the port that OpenTelemetry's exporters for
/// Prometheus have.
const DEFAULT_METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Threads for reading requests and prompts, at least: names are looked up there too, which may hang.
const BLOCKING_MIN: usize = 4;

/// Arguments of `gateway serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    models: ModelsArg,
    /// Folder of tenants and their rules
    #[arg(long, env = "HANSE_POLICIES", value_name = "FOLDER", default_value = "policies")]
    policies: PathBuf,
    #[command(flatten)]
    data: DataArg,
    /// Address to serve on
    #[arg(long, env = "HANSE_LISTEN", value_name = "ADDRESS", default_value_t = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Address of /metrics, for the operator's Prometheus: plain HTTP, without credentials
    #[arg(
        long,
        env = "HANSE_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value_t = DEFAULT_METRICS_LISTEN
    )]
    metrics_listen: SocketAddr,
    /// File of token issuers; without it, only API keys are taken
    #[arg(long, env = "HANSE_IDENTITY", value_name = "FILE")]
    identity: Option<PathBuf>,
    /// File of bounds [default: limits.toml, else built in]
    #[arg(long, env = "HANSE_LIMITS", value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Folder where repacked weights are kept for the next start [default: packed in the data
    /// directory]
    #[arg(long, env = "HANSE_PACKED_DIR", value_name = "FOLDER")]
    packed_dir: Option<PathBuf>,
    /// Keep no repacked weights: every start packs them
    #[arg(long, conflicts_with = "packed_dir")]
    no_packed: bool,
    #[command(flatten)]
    certs: CertsArg,
    /// Certificate chain of another CA, instead of the development CA's certificate
    #[arg(long, env = "HANSE_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "HANSE_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

/// What the operator wrote, all of it checked.
struct Configuration {
    models: ModelsConfig,
    policies: Policies,
    issuers: Issuers,
    limits: LimitsConfig,
    certs: CertsConfig,
    hub: HubSettings,
}

impl Configuration {
    fn load(args: &ServeArgs) -> anyhow::Result<Self> {
        let usual = Path::new("limits.toml");
        let limits = args.limits.as_deref().or_else(|| usual.exists().then_some(usual));
        Ok(Self {
            models: args.models.load()?,
            policies: load_policies(&args.policies)?,
            issuers: args.identity.as_deref().map_or_else(|| Ok(Issuers::none()), Issuers::read)?,
            limits: LimitsConfig::load(limits)?,
            certs: args.certs.load()?,
            hub: HubSettings::from_env()?,
        })
    }

    /// What is in force, for the audit log.
    fn digests(&self) -> Vec<(&'static str, Digest)> {
        let mut digests = vec![("models", Digest(self.models.digest))];
        if !self.issuers.is_empty() {
            digests.push(("identity", Digest(self.issuers.digest())));
        }
        digests
    }
}

/// Serves until a signal.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    let configuration = Configuration::load(&args)?;
    check_address(args.listen, "--listen")?;
    check_address(args.metrics_listen, "--metrics-listen")?;
    let data = DataDir::create(&args.data.data)?;
    // held until the end: no other gateway takes the directory meanwhile
    let _lock = data.lock()?;
    let files = fetch_models(&data, &configuration)?;
    let served = match args.tls_certificate.clone().zip(args.tls_key.clone()) {
        Some((certificate, key)) => ServerFiles { certificate, key },
        None => {
            renewal::prepare(&data, &configuration.certs)?;
            ServerFiles::of(&data)
        }
    };
    let has_key = development_key::ensure(&data, &configuration.policies)?;
    let _telemetry = telemetry::start(Service::Gateway)?;
    eprintln!("starting the engine");
    let renewed = args.tls_certificate.is_none().then(|| configuration.certs.clone());
    let (first_model, digests) = (files[0].id.clone(), configuration.digests());
    let config = ServeConfig {
        address: args.listen,
        data: data.clone(),
        models: configuration.models,
        files,
        policies: configuration.policies,
        issuers: configuration.issuers,
        chain: served.certificate,
        key: served.key,
        worker: worker()?,
        packed: match args.no_packed {
            true => None,
            false => Some(args.packed_dir.clone().unwrap_or_else(|| data.packed())),
        },
        configuration: digests,
        settings: Settings {
            metrics: Some(args.metrics_listen),
            ..configuration.limits.settings()
        },
        limits: configuration.limits.fleet(),
    };
    let (told, announced) = (data.clone(), data.clone());
    let bound = move |address| tell_clients(&told, address);
    let ready = move |address| announce(&announced, address, &first_model, has_key);
    let runtime = runtime(config.settings.threads_max).context("cannot start the runtime")?;
    runtime.block_on(async {
        if let Some(certs) = renewed {
            tokio::spawn(renewal::watch(data, certs));
        }
        server::run(config, bound, ready).await
    })?;
    Ok(())
}

/// Threads of our own. The cores are the workers' first, and what we do for a token takes a small
/// part of what they do.
fn runtime(threads_max: usize) -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads_max.clamp(1, (cores / 2).max(1));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        // what is read there is parsed, rendered and tokenized, which takes all of a core
        .max_blocking_threads(threads.max(BLOCKING_MIN))
        .enable_all()
        .build()
}

/// Finds out now, not after everything was fetched and loaded.
fn check_address(address: SocketAddr, flag: &str) -> anyhow::Result<()> {
    let problem = match TcpListener::bind(address) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let advice = match problem.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "; another program has it: stop that one, or choose another address with {flag}"
            )
        }
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege".to_owned(),
        _ => String::new(),
    };
    Err(problem).with_context(|| format!("cannot listen on {address}{advice}"))
}

fn fetch_models(data: &DataDir, configuration: &Configuration) -> anyhow::Result<Vec<FleetModel>> {
    let store = ModelStore::of(data);
    let mut files = Vec::new();
    for model in &configuration.models.models {
        let weights = store
            .pull(model, &configuration.hub)
            .with_context(|| format!("cannot use the model `{}`", model.id.as_str()))?;
        eprintln!("{}: sha256 {} is right", model.id.as_str(), model.sha256);
        files.push(FleetModel {
            id: ModelId::new(model.id.as_str()),
            kind: model.kind,
            path: weights.file,
            digest: model.sha256,
            context_max: model.context_max.map(std::num::NonZeroU32::get),
            template: model.template.clone(),
            calls: model.tool_calls,
            reasoning: model.reasoning,
            created: weights.created,
        });
    }
    ensure!(!files.is_empty(), "no model is configured");
    Ok(files)
}

/// Workers are this program again.
#[cfg(feature = "embedded")]
fn worker() -> anyhow::Result<WorkerCommand> {
    let program = std::env::current_exe().context("cannot find this program")?;
    Ok(WorkerCommand { program, leading: vec!["worker".into()] })
}

/// Workers are the program `engine`, beside this one.
#[cfg(not(feature = "embedded"))]
fn worker() -> anyhow::Result<WorkerCommand> {
    let program = std::env::current_exe().context("cannot find this program")?;
    Ok(WorkerCommand { program: program.with_file_name("engine"), leading: Vec::new() })
}

/// Leaves the address where `gateway env` finds it.
fn tell_clients(data: &DataDir, address: SocketAddr) {
    let url = base_url(address);
    if let Err(error) = write_public(&data.base_url(), format!("{url}\n").as_bytes()) {
        tracing::warn!(%error, "`gateway env` will not know the address");
    }
}

/// Says where it serves, in words that can be pasted.
fn announce(data: &DataDir, address: SocketAddr, model: &ModelId, has_key: bool) {
    let url = base_url(address);
    let card = has_key.then(|| ClientCard::read(data, url.clone()));
    let said = match card {
        Some(Ok(card)) => format!(
            "\nready on {url}\n\n{}\nor, for any OpenAI client: eval \"$(gateway env --data {})\"\n",
            card.snippets(model.as_str()),
            super::client_card::quote(&data.root().display().to_string()),
        ),
        Some(Err(error)) => format!("\nready on {url}, but {error:#}\n"),
        None => format!("\nready on {url}; make keys with `gateway keys create`\n"),
    };
    // nobody may be reading any more, which is no reason to stop
    if let Err(error) = writeln!(std::io::stdout(), "{said}") {
        tracing::warn!(%error, "nobody hears that the gateway is ready");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_named_with_a_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = taken.local_addr().expect("it is bound");
        let error = format!("{:#}", check_address(address, "--listen").expect_err("it is taken"));
        assert!(error.starts_with(&format!("cannot listen on {address}; another")), "{error}");
        assert!(error.contains("--listen"), "{error}");
        drop(taken);
        check_address(address, "--listen").expect("it is free again");
    }
}
