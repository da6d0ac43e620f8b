//! The engine that the gateway sees.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use engine_api::{
    BoxFuture, EmbeddingInputs, EmbeddingRequest, EmbeddingStream, EmbeddingSubmission, Engine,
    EngineError, EventStream, ModelCard, ModelId, ModelKind, PrepareRequest, Prompt, Submission,
    TokenId,
};
use engine_wire::bounds::{CREDIT_MAX, STEP_EVENTS_MAX};
use futures_util::stream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use crate::encoder::Encoder;
use crate::errand::Errand;
use crate::journey::{Journey, Memory};
use crate::model::Model;
use crate::partition::Partition;
use crate::roster::Roster;
use crate::sockets::Sockets;
use crate::supervisor::Supervisor;
use crate::turns::Turns;
use crate::{FleetConfig, FleetError, FleetModel, Incidents, PartitionConfig, PartitionStatus};

/// Supervised workers behind the [`Engine`] trait. Dropping it kills them.
pub struct Fleet {
    models: HashMap<ModelId, Arc<Model>>,
    /// Models that embed.
    encoders: HashMap<ModelId, Arc<Encoder>>,
    /// In the order of the configuration.
    cards: Vec<ModelCard>,
    roster: Arc<Roster>,
    /// What answers were drawn as.
    turns: Arc<Turns>,
    /// Large prompts that are prepared at once.
    preparing: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    supervisors: Mutex<JoinSet<()>>,
    /// Removes a temporary directory when the workers are gone.
    _sockets: Sockets,
}

impl Fleet {
    /// Reads headers, tokenizers and templates, and starts a worker for each partition. Must
    /// be called inside a tokio runtime. Returns before the workers are ready.
    pub fn start(config: FleetConfig) -> Result<Arc<Self>, FleetError> {
        check(&config)?;
        let sockets = Sockets::open(&config.run_dir)?;
        let (changes, changed) = watch::channel(0);
        let partitions: Vec<_> = config
            .partitions
            .iter()
            .map(|partition| Arc::new(Partition::new(partition.clone(), changes.clone())))
            .collect();
        let (stop, stopped) = watch::channel(false);
        let supervisors = supervise(&config, &partitions, sockets.path(), stopped);
        // read while the workers start; where that fails they end with their supervisors
        let mut models = HashMap::new();
        let mut cards = Vec::new();
        let mut encoders = HashMap::new();
        for model in &config.models {
            let bytes_max = config.limits.prompt_bytes_max;
            match model.kind {
                ModelKind::Generate => {
                    let loaded = Model::load(model, bytes_max)?;
                    cards.push(loaded.card().clone());
                    models.insert(model.id.clone(), Arc::new(loaded));
                }
                ModelKind::Embed => {
                    let loaded = Encoder::load(model, bytes_max)?;
                    cards.push(loaded.card().clone());
                    encoders.insert(model.id.clone(), Arc::new(loaded));
                }
            }
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            models,
            encoders,
            cards,
            turns: Arc::new(Turns::new(config.limits.turns_bytes_max)),
            roster: Arc::new(Roster::new(partitions, config.limits, changed)),
            preparing: Arc::new(Semaphore::new(cores)),
            stop,
            supervisors: Mutex::new(supervisors),
            _sockets: sockets,
        }))
    }

    /// How the partitions are now, in the order of the configuration.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        self.roster.partitions().iter().map(|partition| partition.status()).collect()
    }

    /// What went wrong with requests so far.
    pub fn incidents(&self) -> Incidents {
        self.roster.incidents().now()
    }

    /// Hears of every partition that becomes ready or ends; the number means nothing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.roster.changes()
    }

    /// Refuses new requests, lets the running ones end until the deadline, and stops all
    /// workers. Requests that still run at the deadline end with [`EngineError::Draining`].
    pub async fn drain(&self, deadline: Instant) {
        self.roster.drain(deadline).await;
        self.stop.send_replace(true);
        let mut supervisors = std::mem::take(&mut *self.lock_supervisors());
        while supervisors.join_next().await.is_some() {}
    }

    fn lock_supervisors(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.supervisors.lock().expect("no one panics while holding the supervisors")
    }

    fn model(&self, id: &ModelId) -> Result<&Arc<Model>, EngineError> {
        self.models.get(id).ok_or_else(|| match self.encoders.contains_key(id) {
            true => EngineError::Invalid {
                param: "model",
                message: format!("is `{id}`, which makes embeddings and generates no text"),
            },
            false => EngineError::UnknownModel(id.clone()),
        })
    }

    fn encoder(&self, id: &ModelId) -> Result<&Arc<Encoder>, EngineError> {
        self.encoders.get(id).ok_or_else(|| match self.models.contains_key(id) {
            true => EngineError::Invalid {
                param: "model",
                message: format!("is `{id}`, which generates text and makes no embeddings"),
            },
            false => EngineError::UnknownModel(id.clone()),
        })
    }

    /// Tokenizing is quick, but many texts are a lot of it: it has a thread of its own.
    async fn prepare_inputs(
        &self,
        request: EmbeddingRequest,
    ) -> Result<EmbeddingInputs, EngineError> {
        let encoder = self.encoder(&request.model)?.clone();
        let permit = self.preparing.clone().acquire_owned().await;
        spawn_blocking(move || {
            // held by the thread: one that nobody waits for any more still counts
            let _permit = permit;
            encoder.prepare(request)
        })
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "preparing inputs panicked");
            Err(EngineError::Internal)
        })
    }

    fn start_errand(&self, submission: EmbeddingSubmission) -> Result<Errand, EngineError> {
        let inputs = &submission.inputs;
        if inputs.model_digest != self.encoder(&inputs.model)?.card().digest {
            tracing::error!(request = %submission.id, "the inputs were made for other weights");
            return Err(EngineError::Internal);
        }
        let seat = self.roster.seat().ok_or(EngineError::Draining)?;
        if self.roster.quarantine().has_inputs(&submission) {
            let reason = "workers died on these inputs a moment ago";
            tracing::warn!(request = %submission.id, reason, "request refused");
            return Err(EngineError::Quarantined);
        }
        Ok(Errand::new(self.roster.clone(), submission, seat))
    }

    async fn prepare_prompt(&self, request: PrepareRequest) -> Result<Prompt, EngineError> {
        let model = self.model(&request.model)?.clone();
        if Model::is_small(&request.source) {
            return model.prepare(&request, &self.turns);
        }
        let turns = self.turns.clone();
        let permit = self.preparing.clone().acquire_owned().await;
        spawn_blocking(move || {
            // held by the thread: one that nobody waits for any more still counts
            let _permit = permit;
            model.prepare(&request, &turns)
        })
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "preparing a prompt panicked");
            Err(EngineError::Internal)
        })
    }

    async fn start_journey(&self, submission: Submission) -> Result<EventStream, EngineError> {
        let prompt = &submission.prompt;
        let model = self.model(&prompt.model)?.clone();
        if prompt.model_digest != model.card().digest {
            tracing::error!(request = %submission.id, "the prompt was made for other weights");
            return Err(EngineError::Internal);
        }
        let seat = self.roster.seat().ok_or(EngineError::Draining)?;
        if self.roster.quarantine().has(&submission) {
            let prompt_tokens = submission.prompt.ids.len();
            let reason = "workers died on this prompt a moment ago";
            tracing::warn!(request = %submission.id, prompt_tokens, reason, "request refused");
            return Err(EngineError::Quarantined);
        }
        let memory = Memory { model, turns: self.turns.clone() };
        let mut journey = Journey::new(self.roster.clone(), submission, seat, memory);
        journey.begin().await?;
        Ok(Box::pin(stream::unfold(journey, |mut journey| async move {
            let event = journey.next().await?;
            Some((event, journey))
        })))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // streams that outlive the fleet end, and the supervisors' tasks go with their set
        self.roster.halt();
    }
}

impl Engine for Fleet {
    fn models(&self) -> Vec<ModelCard> {
        self.cards.clone()
    }

    fn prepare(&self, request: PrepareRequest) -> BoxFuture<'_, Result<Prompt, EngineError>> {
        Box::pin(self.prepare_prompt(request))
    }

    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        Box::pin(self.start_journey(submission))
    }

    fn prepare_embedding(
        &self,
        request: EmbeddingRequest,
    ) -> BoxFuture<'_, Result<EmbeddingInputs, EngineError>> {
        Box::pin(self.prepare_inputs(request))
    }

    fn embed(&self, submission: EmbeddingSubmission) -> EmbeddingStream {
        match self.start_errand(submission) {
            Ok(errand) => Box::pin(stream::unfold(errand, |mut errand| async move {
                let event = errand.next().await?;
                Some((event, errand))
            })),
            Err(error) => Box::pin(stream::iter([Err(error)])),
        }
    }

    fn tokenize(&self, model: &ModelId, text: &str) -> Result<Vec<TokenId>, EngineError> {
        if let Some(encoder) = self.encoders.get(model) {
            return encoder.tokenize(text);
        }
        self.model(model)?.tokenize(text)
    }

    fn detokenize(&self, model: &ModelId, ids: &[TokenId]) -> Result<String, EngineError> {
        if let Some(encoder) = self.encoders.get(model) {
            return encoder.detokenize(ids);
        }
        self.model(model)?.detokenize(ids)
    }

    fn is_ready(&self, model: &ModelId) -> bool {
        let of_model = |partition: &&Arc<Partition>| partition.config().model == *model;
        self.roster.partitions().iter().filter(of_model).any(|place| place.link().is_some())
    }
}

/// A supervisor for each partition.
fn supervise(
    config: &FleetConfig,
    partitions: &[Arc<Partition>],
    sockets: PathBuf,
    stop: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (number, partition) in partitions.iter().enumerate() {
        let supervisor = Supervisor {
            partition: partition.clone(),
            model: model_of(config, partition.config()).expect("checked before").clone(),
            command: config.worker.clone(),
            limits: config.limits.clone(),
            packed_dir: config.packed_dir.clone(),
            sockets: sockets.clone(),
            number,
            stop: stop.clone(),
        };
        tasks.spawn(supervisor.run());
    }
    tasks
}

fn model_of<'a>(config: &'a FleetConfig, partition: &PartitionConfig) -> Option<&'a FleetModel> {
    config.models.iter().find(|model| model.id == partition.model)
}

/// `cpu` or `cuda:N`. Whether a worker has such a device, it says when it starts.
fn is_device(name: &str) -> bool {
    let number = name.strip_prefix("cuda:").is_some_and(|number| number.parse::<u32>().is_ok());
    name == "cpu" || number
}

fn check(config: &FleetConfig) -> Result<(), FleetError> {
    let models = config.models.iter().map(|model| model.id.as_str());
    let partitions = config.partitions.iter().map(|partition| partition.id.as_str());
    for names in [models.collect::<Vec<_>>(), partitions.collect()] {
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                return Err(FleetError::Duplicate((*name).into()));
            }
        }
    }
    for partition in &config.partitions {
        if model_of(config, partition).is_none() {
            let (partition, model) = (partition.id.clone(), partition.model.clone());
            return Err(FleetError::UnknownModel { partition, model });
        }
        if !is_device(&partition.device) {
            let (partition, device) = (partition.id.clone(), partition.device.clone());
            return Err(FleetError::UnknownDevice { partition, device });
        }
    }
    let credit = config.limits.credit_events;
    if (credit as usize) < STEP_EVENTS_MAX || credit > CREDIT_MAX {
        return Err(FleetError::Credit { credit, min: STEP_EVENTS_MAX, max: CREDIT_MAX });
    }
    Ok(())
}
