//! From a checked configuration to a gateway that serves.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use audit::{AppendError, Digest, Log, LogError, LogOptions};
use engine_api::{ModelId, PartitionId, ZoneId};
use engine_fleet::{
    Fleet, FleetConfig, FleetError, FleetLimits, FleetModel, PartitionConfig, WorkerCommand,
};
use policy::{Candidate, Policies};
use tokio::time::Instant;

use super::{Parts, Server, Settings, startup};
use crate::config::ModelsConfig;
use crate::data_dir::{DataDir, DataDirError, SecretName};
use crate::identity::{Authenticator, Issuers, KeyRingError};
use crate::listener::{CertificateError, Drain, Phase, ServedCertificate};
use crate::routing::Places;

/// Everything that a start needs, read and checked.
pub struct ServeConfig {
    /// Where to listen.
    pub address: SocketAddr,
    /// Where secrets, keys and the audit log are.
    pub data: DataDir,
    /// Zones and partitions.
    pub models: ModelsConfig,
    /// The models of it, each with its verified file.
    pub files: Vec<FleetModel>,
    /// Who may do what, where.
    pub policies: Policies,
    /// Whose tokens are taken.
    pub issuers: Issuers,
    /// The certificate chain, in PEM.
    pub chain: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// How a worker is started.
    pub worker: WorkerCommand,
    /// Where workers keep repacked weights for their next start; nowhere if absent.
    pub packed: Option<PathBuf>,
    /// What else is in force, by name, for the audit log: `models` and its digest, say.
    pub configuration: Vec<(&'static str, Digest)>,
    /// The bounds of the gateway.
    pub settings: Settings,
    /// The bounds of the fleet.
    pub limits: FleetLimits,
}

/// Why a gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or is not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A signal cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// A secret.
    #[error("cannot read the data directory")]
    Data(#[from] DataDirError),
    /// The API keys.
    #[error("cannot read the API keys")]
    Keys(#[from] KeyRingError),
    /// The certificate.
    #[error("cannot serve TLS")]
    Certificate(#[from] CertificateError),
    /// The audit log cannot be opened.
    #[error("cannot open the audit log")]
    Log(#[from] LogError),
    /// The audit log does not take an entry.
    #[error("cannot write to the audit log")]
    Append(#[from] AppendError),
    /// The engine.
    #[error("cannot start the engine")]
    Fleet(#[from] FleetError),
    /// A partition failed again and again before it was ever ready.
    #[error("cannot start partition `{id}`: {reason}")]
    Partition {
        /// The partition.
        id: PartitionId,
        /// What its worker said.
        reason: String,
    },
}

/// Serves until a signal ends it. `bound` is called once, before the first connection is
/// taken; `ready` once, when every model can be used.
pub async fn run(
    config: ServeConfig,
    bound: impl FnOnce(SocketAddr),
    ready: impl FnOnce(SocketAddr) + Send + 'static,
) -> Result<(), ServeError> {
    let certificate = ServedCertificate::load(&config.chain, &config.key)?;
    let log = Log::open(&config.data.audit(), LogOptions::default())?;
    let namespace_secret = *config.data.secret(SecretName::CacheNamespace)?.as_bytes();
    let identity = Arc::new(Authenticator::new(config.data.clone(), config.issuers)?);
    let places = places(&config.models);
    let fleet = Fleet::start(FleetConfig {
        models: config.files,
        partitions: partitions(&config.models),
        worker: config.worker,
        run_dir: config.data.run(),
        packed_dir: config.packed,
        limits: config.limits,
    })?;
    let (looked_at, counted) = (Arc::clone(&fleet), Arc::clone(&fleet));
    let parts = Parts {
        places,
        policies: Arc::new(config.policies),
        engine: fleet.clone(),
        partitions: Arc::new(move || looked_at.partitions()),
        incidents: Box::new(move || counted.incidents()),
        identity,
        log,
        configuration: config.configuration,
        namespace_secret,
        certificate,
    };
    let drain_max = config.settings.drain_max;
    let server = Server::bind(config.address, parts, config.settings).await?;
    let (address, drain) = (server.address(), server.drain());
    if let Some(address) = server.metrics_address() {
        tracing::info!(%address, "metrics can be read");
    }
    bound(address);
    let signals = drain.on_signals(drain_max).map_err(ServeError::Signals)?;
    let signals = tokio::spawn(signals);
    let starting = tokio::spawn(start(fleet.clone(), drain, address, ready));
    let served = server.serve().await;
    signals.abort();
    // nothing runs any more, so there is nothing to wait for
    fleet.drain(Instant::now()).await;
    starting.await.expect("the start does not panic")?;
    served
}

/// Waits for the engine. Where it does not start, nothing is served.
async fn start(
    fleet: Arc<Fleet>,
    drain: Drain,
    address: SocketAddr,
    ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    let completed = startup::completed(&fleet, &drain).await;
    match &completed {
        Ok(true) => {
            tracing::info!(%address, "ready");
            ready(address);
        }
        Ok(false) => {}
        Err(_) => drain.advance(Phase::Ended),
    }
    completed.map(|_| ())
}

fn places(models: &ModelsConfig) -> Places {
    let mut places = Places::default();
    for partition in &models.partitions {
        let name = partition.zone.get_ref();
        let zone = models.zones.iter().find(|zone| zone.id.get_ref() == name);
        let zone = zone.expect("the zone of a partition was resolved when the file was read");
        let candidate =
            Candidate { zone: policy::ZoneId::new(name.as_str()), jurisdiction: zone.jurisdiction };
        places.insert(ModelId::new(partition.model.get_ref().as_str()), candidate);
    }
    places
}

fn partitions(models: &ModelsConfig) -> Vec<PartitionConfig> {
    let partition = |one: &crate::config::PartitionConfig| PartitionConfig {
        id: PartitionId::new(one.id.get_ref().as_str()),
        model: ModelId::new(one.model.get_ref().as_str()),
        zone: ZoneId::new(one.zone.get_ref().as_str()),
        device: one.device.to_string(),
        threads: one.threads.count(),
        kv_bytes: one.kv_memory.map_or(0, |memory| memory.bytes()),
    };
    models.partitions.iter().map(partition).collect()
}
