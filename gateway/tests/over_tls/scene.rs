//! A running gateway in a folder of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::{Log, LogOptions};
use engine_api::{Epoch, ModelId, PartitionId, ZoneId};
use engine_fleet::{Incidents, PartitionCounters, PartitionLoad, PartitionState, PartitionStatus};
use gateway::data_dir::DataDir;
use gateway::identity::{Authenticator, Issuers, KeyRing, NewKey};
use gateway::listener::{Drain, Phase, ServedCertificate};
use gateway::routing::Places;
use gateway::server::{Parts, Server, Settings};
use policy::{Candidate, Policies};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::client::{Client, Http};
use crate::engine::ScriptedEngine;

/// What a test sets up otherwise.
pub struct Setup {
    pub settings: Settings,
    pub log: Box<dyn FnOnce(&Path) -> Log>,
}

impl Default for Setup {
    fn default() -> Self {
        let log = |dir: &Path| Log::open(dir, LogOptions::default()).unwrap();
        Self { settings: Settings::default(), log: Box::new(log) }
    }
}

pub struct Scene {
    pub engine: Arc<ScriptedEngine>,
    pub address: SocketAddr,
    pub roots: RootCertStore,
    pub certificate: Arc<ServedCertificate>,
    pub drain: Drain,
    data: DataDir,
    keys: BTreeMap<&'static str, String>,
    serving: JoinHandle<()>,
    folder: TempDir,
}

const TENANTS: &[(&str, &str, &str)] = &[
    ("clinic", r#"["DE"]"#, r#"["*"]"#),
    ("open", r#"["DE", "FR"]"#, r#"["*"]"#),
    ("picky", r#"["DE"]"#, r#"["org/other"]"#),
    ("slow", r#"["DE"]"#, r#"["*"]"#),
    ("single", r#"["DE"]"#, r#"["*"]"#),
    ("closed", r#"["DE"]"#, r#"["*"]"#),
];

fn policies() -> Policies {
    let file = |(name, jurisdictions, models): &(&str, &str, &str)| {
        let per_minute = if *name == "slow" { 2 } else { 10_000 };
        let at_once = if *name == "single" { 1 } else { 100 };
        let enabled = *name != "closed";
        let text = format!(
            "tenant = \"{name}\"\nenabled = {enabled}\njurisdictions = {jurisdictions}\n\
             models = {models}\n[limits]\nrequests_per_minute = {per_minute}\n\
             concurrent_requests_max = {at_once}\noutput_tokens_max = 32\nprompt_tokens_max = 8\n"
        );
        (format!("tenants/{name}.toml"), text)
    };
    Policies::parse(TENANTS.iter().map(file)).unwrap()
}

fn places() -> Places {
    let mut places = Places::default();
    let candidate = |zone: &str, jurisdiction: &str| Candidate {
        zone: policy::ZoneId::new(zone),
        jurisdiction: jurisdiction.parse().unwrap(),
    };
    places.insert(ModelId::new("small"), candidate("eu-de-1", "DE"));
    places.insert(ModelId::new("small"), candidate("eu-fr-1", "FR"));
    places.insert(ModelId::new("french"), candidate("eu-fr-1", "FR"));
    places.insert(ModelId::new("org/other"), candidate("eu-de-1", "DE"));
    places.insert(ModelId::new("vectors"), candidate("eu-de-1", "DE"));
    places.insert(ModelId::new("vectors"), candidate("eu-fr-1", "FR"));
    places
}

fn partitions(engine_ready: bool) -> Vec<PartitionStatus> {
    let one = |id: &str, model: &str, zone: &str| PartitionStatus {
        id: PartitionId::new(id),
        model: ModelId::new(model),
        zone: ZoneId::new(zone),
        state: if engine_ready {
            PartitionState::Ready
        } else {
            PartitionState::Down { reason: "a secret path".into() }
        },
        epoch: Epoch(1),
        pid: Some(4242),
        failures: 0,
        last_failure: None,
        load: PartitionLoad::default(),
        done: PartitionCounters::default(),
    };
    vec![
        one("de-0", "small", "eu-de-1"),
        one("fr-0", "french", "eu-fr-1"),
        one("de-1", "org/other", "eu-de-1"),
        one("de-2", "vectors", "eu-de-1"),
    ]
}

pub fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(&folder.path().join("data")).unwrap();
        let authority = authority("a test's authority");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let tenants = TENANTS.iter().map(|(name, ..)| *name).chain(["unknown"]);
        let keys = tenants.map(|tenant| (tenant, make_key(&data, tenant))).collect();
        let (chain, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
        write_leaf(&authority, &chain, &key);
        let certificate = ServedCertificate::load(&chain, &key).unwrap();
        let engine = Arc::new(ScriptedEngine::default());
        let ready_flag = folder.path().join("engine-is-down");
        let parts = Parts {
            places: places(),
            policies: Arc::new(policies()),
            engine: engine.clone(),
            incidents: Box::new(Incidents::default),
            partitions: Arc::new(move || partitions(!ready_flag.exists())),
            identity: Arc::new(Authenticator::new(data.clone(), Issuers::none()).unwrap()),
            log: (setup.log)(&data.audit()),
            configuration: Vec::new(),
            namespace_secret: [7; 32],
            certificate: certificate.clone(),
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(address, parts, setup.settings).await.unwrap();
        let (address, drain) = (server.address(), server.drain());
        let serving = tokio::spawn(async move { drop(server.serve().await) });
        Self { engine, address, roots, certificate, drain, data, keys, serving, folder }
    }

    pub fn client(&self, http: Http, key: Option<&str>) -> Client {
        Client::new(self.address, &self.roots, http, key)
    }

    /// A client with the tenant's key, over HTTP/2.
    pub fn tenant(&self, tenant: &str) -> Client {
        self.client(Http::Two, Some(&self.keys[tenant]))
    }

    /// The same over HTTP/1.1.
    pub fn tenant_http1(&self, tenant: &str) -> Client {
        self.client(Http::One, Some(&self.keys[tenant]))
    }

    pub fn chain(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    pub fn private_key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    pub fn break_engine(&self) {
        std::fs::write(self.folder.path().join("engine-is-down"), "").unwrap();
    }

    /// Stops the gateway and reads its log, which has to verify.
    pub async fn entries(self) -> Vec<Value> {
        self.drain.advance(Phase::Draining);
        tokio::time::timeout(Duration::from_secs(20), self.serving).await.unwrap().unwrap();
        // the log is closed by its last owner, and that may be a task that just ended
        let verified = audit::verify(&self.data.audit(), &[]).unwrap();
        assert!(verified.unfinished.is_empty(), "every permit has its end");
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.data.audit())
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|file| file.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        let text: String =
            files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert_eq!(text.lines().count() as u64, verified.entries);
        let entry = |line: &str| serde_json::from_str::<Value>(line).unwrap()["entry"].take();
        text.lines().map(entry).collect()
    }
}

fn make_key(data: &DataDir, tenant: &str) -> String {
    let (tenant, name) = (tenant.parse().unwrap(), "test".to_owned());
    let new = NewKey { tenant, name, created: 1_700_000_000, expires: None };
    KeyRing::create(data, new).unwrap().expose().to_owned()
}

pub fn write_leaf(authority: &CertifiedIssuer<'static, KeyPair>, chain: &Path, key: &Path) {
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&pair, authority).unwrap();
    std::fs::write(chain, leaf.pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
}

/// The entries of a kind, for example `decision`.
pub fn of_kind(entries: &[Value], kind: &str) -> Vec<Value> {
    entries.iter().filter_map(|entry| entry.get(kind).cloned()).collect()
}
