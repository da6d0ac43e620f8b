//! A gateway as a whole: what it is made of, and its life from the first entry to the last.

mod assembly;
mod lifetime;
mod startup;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audit::{Digest, Log};
use axum::Router;
use engine_api::Engine;
use engine_fleet::{Incidents, PartitionStatus};
use policy::Policies;

use crate::api::{self, Api, ApiBounds};
use crate::identity::Authenticator;
use crate::listener::{Bounds, Drain, Listener, Phase, ServedCertificate};
use crate::metrics::{Instruments, Metrics, MetricsEndpoint, Observed};
use crate::pipeline::{Disguise, Ledger, Pipeline};
use crate::reservation::Reservations;
use crate::routing::Places;

pub use assembly::{ServeConfig, ServeError, run};
pub use lifetime::Lifetime;

/// Everything that a gateway is made of, ready to be used.
pub struct Parts {
    /// What runs where.
    pub places: Places,
    /// Who may do what, where.
    pub policies: Arc<Policies>,
    /// What runs models.
    pub engine: Arc<dyn Engine>,
    /// How its partitions are.
    pub partitions: Arc<dyn Fn() -> Vec<PartitionStatus> + Send + Sync>,
    /// What went wrong with requests in it.
    pub incidents: Box<dyn Fn() -> Incidents + Send + Sync>,
    /// Who calls.
    pub identity: Arc<Authenticator>,
    /// What is written down.
    pub log: Log,
    /// What else is in force, by name: its digest goes into the log.
    pub configuration: Vec<(&'static str, Digest)>,
    /// The secret under which tenants get their opaque names.
    pub namespace_secret: [u8; 32],
    /// What TLS shows.
    pub certificate: Arc<ServedCertificate>,
}

/// The bounds of a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads for connections, and as many for reading requests and prompts.
    pub threads_max: usize,
    /// Of connections.
    pub edge: Bounds,
    /// Of requests.
    pub api: ApiBounds,
    /// Requests between their decision and their terminal entry.
    pub requests_max: u16,
    /// How long a request may wait for its first token.
    pub first_token_wait_max: Duration,
    /// How long what a tool may soon answer is kept in the prefix cache before the rest.
    pub tool_wait: Duration,
    /// How long running requests may take to finish when the gateway stops.
    pub drain_max: Duration,
    /// How often the certificate's files are looked at.
    pub certificate_every: Duration,
    /// Where the operator's Prometheus reads, in plain HTTP; nowhere where it is `None`.
    pub metrics: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads_max: 8,
            edge: Bounds::default(),
            api: ApiBounds::default(),
            requests_max: 2048,
            first_token_wait_max: Duration::from_secs(600),
            tool_wait: Duration::from_secs(60),
            drain_max: Duration::from_secs(30),
            certificate_every: Duration::from_secs(5),
            metrics: None,
        }
    }
}

/// How long the log may take for the last terminal entries. A full disk must not keep a
/// gateway from stopping.
const SETTLING_MAX: Duration = Duration::from_secs(10);

/// A gateway that is bound to its address.
pub struct Server {
    listener: Listener,
    address: SocketAddr,
    router: Router,
    certificate: Arc<ServedCertificate>,
    settings: Settings,
    drain: Drain,
    ledger: Ledger,
    lifetime: Lifetime,
    instruments: Instruments,
    metrics: Arc<Metrics>,
    endpoint: Option<MetricsEndpoint>,
}

impl Server {
    /// Binds, and enters into the log that the gateway starts. Connections wait for
    /// [`Self::serve`].
    pub async fn bind(
        address: SocketAddr,
        parts: Parts,
        settings: Settings,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Bind { address, source };
        let listener = Listener::bind(address).await.map_err(failed)?;
        let address = listener.address().map_err(failed)?;
        let endpoint = endpoint(settings.metrics).await?;
        let policies = ("policies", Digest(*parts.policies.digest().as_bytes()));
        let configuration = [vec![policies], parts.configuration].concat();
        let lifetime = Lifetime::begin(parts.log.clone(), configuration).await?;
        let instruments = Instruments::default();
        let flushes = instruments.flushes.clone();
        let ledger = Ledger::new(parts.log, settings.requests_max, flushes);
        let (partitions, counted) = (Arc::clone(&parts.partitions), ledger.clone());
        let observed = Observed {
            partitions: Box::new(move || partitions()),
            incidents: parts.incidents,
            in_flight: Box::new(move || counted.open_accounts()),
        };
        let metrics = Arc::new(Metrics::new(&instruments, observed));
        let drain = Drain::default();
        let pipeline = Pipeline {
            places: parts.places,
            policies: parts.policies,
            engine: parts.engine,
            reservations: Arc::new(Reservations::default()),
            ledger: ledger.clone(),
            disguise: Disguise::new(&parts.namespace_secret),
            first_token_wait_max: settings.first_token_wait_max,
            tool_wait: settings.tool_wait,
            instruments: instruments.clone(),
        };
        let router = api::router(Arc::new(Api {
            pipeline,
            identity: parts.identity,
            partitions: parts.partitions,
            drain: drain.clone(),
            bounds: settings.api.clone(),
        }));
        let certificate = parts.certificate;
        Ok(Self {
            listener,
            address,
            router,
            certificate,
            settings,
            drain,
            ledger,
            lifetime,
            instruments,
            metrics,
            endpoint,
        })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are read.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().and_then(|endpoint| endpoint.address().ok())
    }

    /// What stops it.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Serves until the drain is over and the end of every request is in the log.
    pub async fn serve(self) -> Result<(), ServeError> {
        let Self { listener, router, certificate, settings, drain, ledger, lifetime, .. } = self;
        let open = self.instruments.connections;
        if let Some(endpoint) = self.endpoint {
            tokio::spawn(endpoint.serve(self.metrics, drain.clone()));
        }
        let watch = certificate.watch(settings.certificate_every).map_err(ServeError::Signals)?;
        let watch = tokio::spawn(watch);
        listener.serve(certificate, &settings.edge, drain.clone(), open, router).await;
        // tasks that write an answer notice that its connection has ended
        if tokio::time::timeout(SETTLING_MAX, ledger.settled()).await.is_err() {
            let open = ledger.open_accounts();
            tracing::error!(open, "some requests have no end in the log; the next start enters it");
        }
        watch.abort();
        drain.advance(Phase::Ended);
        lifetime.end("drained").await
    }
}

async fn endpoint(address: Option<SocketAddr>) -> Result<Option<MetricsEndpoint>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let bound = MetricsEndpoint::bind(address).await;
    bound.map(Some).map_err(|source| ServeError::Bind { address, source })
}
