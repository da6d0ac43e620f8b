//! A directory with a model, and fleets on it.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine_api::{
    CacheNamespace, Choices, Engine, EngineError, Event, EventStream, FinishReason, MaxTokens,
    ModelDigest, ModelId, ModelKind, OutputEvent, PartitionId, Placement, Priority, Prompt,
    RequestId, Sampling, Seed, Share, StopStrings, StopTokens, Stopping, Submission, TokenId,
    Usage, ZoneId,
};
use engine_chat::Reply;
use engine_fleet::{
    Fleet, FleetConfig, FleetLimits, FleetModel, PartitionConfig, PartitionState, PartitionStatus,
    WorkerCommand,
};
use engine_tiny::TinyModel;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::timeout;

/// Nothing here takes so long.
pub const SOON: Duration = Duration::from_secs(30);
/// Longest sequence of the model.
pub const CONTEXT: u32 = 2048;

/// A model's file and a place for sockets.
pub struct Site {
    directory: TempDir,
    pub digest: ModelDigest,
}

impl Site {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bytes = TinyModel { context: CONTEXT, ..TinyModel::default() }.to_bytes();
        std::fs::write(directory.path().join("tiny.gguf"), &bytes).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        Self { directory, digest: ModelDigest(digest.as_ref().try_into().unwrap()) }
    }

    /// One partition in each zone, with waits that suit a test.
    pub fn config(&self, zones: &[&str]) -> FleetConfig {
        let model = FleetModel {
            id: ModelId::new("tiny"),
            kind: ModelKind::Generate,
            path: self.directory.path().join("tiny.gguf"),
            digest: self.digest,
            context_max: None,
            template: None,
            calls: None,
            reasoning: None,
            created: 0,
        };
        let partition = |(number, zone): (usize, &&str)| PartitionConfig {
            id: PartitionId::new(format!("p{number}")),
            model: model.id.clone(),
            zone: ZoneId::new(*zone),
            device: "cpu".into(),
            threads: 1,
            kv_bytes: 16 << 20,
        };
        FleetConfig {
            partitions: zones.iter().enumerate().map(partition).collect(),
            models: vec![model],
            worker: worker(&[]),
            run_dir: self.directory.path().join("run"),
            packed_dir: Some(self.directory.path().join("packed")),
            limits: FleetLimits {
                ready_wait_max: SOON,
                failover_wait_max: SOON,
                ..FleetLimits::default()
            },
        }
    }

    /// A fleet whose partitions are all ready.
    pub async fn fleet(&self, zones: &[&str]) -> Arc<Fleet> {
        started(self.config(zones)).await
    }

    /// A request of `tokens` tokens, with a prompt that depends on `number`.
    pub fn submission(&self, number: u32, tokens: u32) -> Submission {
        let ids: Vec<TokenId> = (0..8 + number % 40)
            .map(|place| TokenId(10 + (place * 7 + number * 13) % 200))
            .collect();
        self.of_ids(number, ids, tokens)
    }

    pub fn of_ids(&self, number: u32, ids: Vec<TokenId>, tokens: u32) -> Submission {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Submission {
            id: RequestId::new(format!("r{number}-{}", COUNT.fetch_add(1, Ordering::Relaxed))),
            prompt: Prompt {
                model: ModelId::new("tiny"),
                model_digest: self.digest,
                ids: ids.into(),
                max_tokens: tokens,
                context: CONTEXT,
                answer: Default::default(),
            },
            choices: Choices::ONE,
            sampling: Sampling { seed: Seed(u64::from(number)), ..Sampling::default() },
            stopping: Stopping {
                max_tokens: MaxTokens::new(tokens).unwrap(),
                stop: StopStrings::default(),
                stop_tokens: StopTokens::default(),
                ignore_eos: true,
                min_tokens: 0,
            },
            constraint: None,
            markers: Vec::new(),
            namespace: CacheNamespace([0; 16]),
            share: Share { key: 0, weight: NonZeroU32::MIN },
            priority: Priority::default(),
            deadline: None,
            hold: None,
            zones: vec![ZoneId::new("a"), ZoneId::new("b")],
            trace: None,
        }
    }
}

/// This program as a worker, with more flags.
pub fn worker(flags: &[&str]) -> WorkerCommand {
    let leading = std::iter::once(&"worker").chain(flags).map(OsString::from).collect();
    WorkerCommand { program: itself(), leading }
}

pub fn itself() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Starts a fleet and waits until all its partitions are ready.
pub async fn started(config: FleetConfig) -> Arc<Fleet> {
    let fleet = Fleet::start(config).unwrap();
    let ready = |all: &[PartitionStatus]| all.iter().all(|one| one.state == PartitionState::Ready);
    until(&fleet, ready).await;
    fleet
}

/// Waits for something to become true of the partitions.
pub async fn until(fleet: &Fleet, mut is_so: impl FnMut(&[PartitionStatus]) -> bool) {
    let waiting = async {
        while !is_so(&fleet.partitions()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(SOON, waiting).await.is_err() {
        panic!("this does not come: {:#?}", fleet.partitions());
    }
}

/// What came of a request.
#[derive(PartialEq, Debug, Default)]
pub struct Answer {
    /// By choice.
    pub ids: Vec<Vec<TokenId>>,
    /// Contents.
    pub texts: Vec<String>,
    /// Everything that the texts turned out to be.
    pub replies: Vec<Reply>,
    pub reasons: Vec<Option<FinishReason>>,
    pub usage: Option<Usage>,
}

/// An answer that is being read.
pub struct Reading {
    stream: EventStream,
    pub answer: Answer,
    pub places: Vec<Placement>,
}

impl Reading {
    pub async fn start(fleet: &Fleet, submission: Submission) -> Result<Self, EngineError> {
        let choices = usize::from(submission.choices.get());
        let stream = timeout(SOON, fleet.submit(submission)).await.expect("submit hangs")?;
        let answer = Answer {
            ids: vec![Vec::new(); choices],
            texts: vec![String::new(); choices],
            replies: vec![Reply::default(); choices],
            reasons: vec![None; choices],
            usage: None,
        };
        Ok(Self { stream, answer, places: Vec::new() })
    }

    /// Reads one event; false after the last.
    pub async fn event(&mut self) -> Result<bool, EngineError> {
        let event = timeout(SOON, self.stream.next()).await.expect("the stream hangs");
        match event {
            None => return Ok(false),
            Some(Err(error)) => return Err(error),
            Some(Ok(Event::Placed(place))) => self.places.push(place),
            Some(Ok(Event::Token(token))) => {
                let choice = usize::from(token.choice);
                let ids = &mut self.answer.ids[choice];
                assert_eq!(token.index as usize, ids.len(), "a token is missing or came twice");
                ids.push(token.id);
            }
            Some(Ok(Event::Output { choice, output })) => {
                let choice = usize::from(choice);
                assert_eq!(self.answer.reasons[choice], None, "all output is before the end");
                if let OutputEvent::Content(text) = &output {
                    self.answer.texts[choice].push_str(text);
                }
                self.answer.replies[choice].add(output);
            }
            Some(Ok(Event::Finished(finished))) => {
                let choice = usize::from(finished.choice);
                let before = self.answer.reasons[choice].replace(finished.reason);
                assert_eq!(before, None, "a choice ended twice");
            }
            Some(Ok(Event::Usage(usage, _))) => self.answer.usage = Some(usage),
        }
        Ok(true)
    }

    /// Reads so many tokens of all choices together.
    pub async fn tokens(&mut self, count: usize) {
        while self.answer.ids.iter().map(Vec::len).sum::<usize>() < count {
            assert!(self.event().await.unwrap(), "the answer is shorter");
        }
    }

    pub async fn rest(mut self) -> Result<(Answer, Vec<Placement>), EngineError> {
        while self.event().await? {}
        assert!(self.answer.usage.is_some(), "no usage came");
        Ok((self.answer, self.places))
    }
}

/// Reads an answer to its end.
pub async fn answer(fleet: &Fleet, submission: Submission) -> Result<Answer, EngineError> {
    Ok(Reading::start(fleet, submission).await?.rest().await?.0)
}

/// Sends a signal, as an operator or the kernel would.
pub fn kill(pid: u32, signal: &str) {
    let command = format!("kill -{signal} {pid}");
    let status = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Whether a process runs; one that has ended and was not waited for does not.
pub fn runs(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'),
        Err(_) => false,
    }
}
