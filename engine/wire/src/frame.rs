//! Frames as both ends work with them: checked, in the engine's own types.

use std::sync::Arc;

use engine_api::{
    EngineError, Epoch, Finished, ModelDigest, ModelId, ModelKind, NumericsClass, RequestId, Share,
    Submission, Timings, Token, TokenId, TraceContext, Usage, ZoneId,
};

/// Names a request on one connection; made by the fleet, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// From the fleet to the worker.
#[derive(Clone, PartialEq, Debug)]
pub enum Down {
    /// The first frame.
    Hello(Hello),
    /// A new request, or one that goes on.
    Submit(Box<Submit>),
    /// Texts that are to be embedded.
    Embed(Box<Embed>),
    /// A request that nobody wants any more. One that has ended already is no error.
    Cancel(StreamId),
    /// No new requests; the worker closes the connection after the last one.
    Drain,
    /// So many more events may be sent.
    Credit(u32),
}

/// Opens a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The fleet's version.
    pub protocol: u32,
    /// Events that the worker may send before the first credit.
    pub credit: u32,
}

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub struct Submit {
    /// Its name on this connection.
    pub stream: StreamId,
    /// What is wanted.
    pub submission: Submission,
    /// Tokens of each choice that were delivered before; empty when nothing was.
    pub resume: Vec<Vec<TokenId>>,
}

/// A request for vectors.
#[derive(Clone, PartialEq, Debug)]
pub struct Embed {
    /// Its name on this connection.
    pub stream: StreamId,
    /// Made by the gateway.
    pub id: RequestId,
    /// The model that reads the inputs.
    pub model: ModelId,
    /// The weights that they were prepared for.
    pub model_digest: ModelDigest,
    /// The ids of each input that is wanted, with its index in the request; indices ascend.
    pub inputs: Vec<(u32, Arc<[TokenId]>)>,
    /// Length of the vectors.
    pub dimensions: u32,
    /// Which part of the capacity it uses.
    pub share: Share,
    /// Time until the first vector must be computed.
    pub deadline: Option<std::time::Duration>,
    /// Where it may run.
    pub zones: Vec<ZoneId>,
    /// The caller's trace.
    pub trace: Option<TraceContext>,
}

/// The vector of one input.
#[derive(Clone, PartialEq, Debug)]
pub struct Embedded {
    /// The input's index in the request.
    pub input: u32,
    /// Its numbers, all finite.
    pub values: Vec<f32>,
}

/// From the worker to the fleet.
#[derive(Clone, PartialEq, Debug)]
pub enum Up {
    /// The weights are being read.
    Loading(Loading),
    /// The worker takes requests.
    Welcome(Welcome),
    /// The worker will never take requests, and why.
    Refused(String),
    /// What one step made.
    Step(Step),
    /// Work and memory, when they changed.
    Load(Load),
    /// The worker lives.
    Heartbeat(Heartbeat),
}

/// How far the weights are read, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loading {
    /// So far.
    pub done: u64,
    /// In all.
    pub total: u64,
}

/// What the worker is.
#[derive(Clone, PartialEq, Debug)]
pub struct Welcome {
    /// The worker's version.
    pub protocol: u32,
    /// Which start of the worker.
    pub epoch: Epoch,
    /// The weights that it runs.
    pub model_digest: ModelDigest,
    /// What its results are bit-identical with.
    pub numerics: NumericsClass,
    /// Longest sequence in tokens.
    pub context: u32,
    /// Width of the logits.
    pub vocabulary: u32,
    /// Blocks of its KV cache; 0 where it embeds.
    pub blocks: u32,
    /// Token positions in a block; 0 where it embeds.
    pub block_tokens: u32,
    /// What it does.
    pub kind: ModelKind,
}

/// What one step made, for one connection. Events of one request are in order within each
/// list; its start comes before its tokens, and tokens come before the end of their choice.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Which start of the worker.
    pub epoch: Epoch,
    /// From 1, without gaps.
    pub sequence: u64,
    /// Requests that got blocks for the first time, and how many tokens of their prompts the
    /// prefix cache had.
    pub started: Vec<(StreamId, u32)>,
    /// Drawn tokens.
    pub tokens: Vec<(StreamId, Token)>,
    /// Choices that ended.
    pub finished: Vec<(StreamId, Finished)>,
    /// Vectors.
    pub embedded: Vec<(StreamId, Embedded)>,
    /// Requests that ended well.
    pub usage: Vec<(StreamId, Usage, Timings)>,
    /// Requests that did not.
    pub failed: Vec<(StreamId, EngineError)>,
}

impl Step {
    /// A frame without events.
    pub fn empty(epoch: Epoch, sequence: u64) -> Self {
        let (started, tokens, finished, embedded, usage, failed) = Default::default();
        Self { epoch, sequence, started, tokens, finished, embedded, usage, failed }
    }

    /// Number of events: what credits count.
    pub fn events(&self) -> usize {
        let answers = self.tokens.len() + self.finished.len() + self.embedded.len();
        self.started.len() + answers + self.usage.len() + self.failed.len()
    }

    /// Numbers of all vectors.
    pub fn numbers(&self) -> usize {
        self.embedded.iter().map(|(_, embedded)| embedded.values.len()).sum()
    }
}

/// Work and memory of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Requests in the batch.
    pub running: u32,
    /// Requests in the queue.
    pub waiting: u32,
    /// Blocks that requests hold.
    pub blocks_used: u32,
    /// Blocks in all.
    pub blocks_total: u32,
    /// Blocks that no request holds, but whose content the prefix cache still knows.
    pub blocks_cached: u32,
    /// Blocks that the prefix cache may not give away.
    pub blocks_pinned: u32,
    /// What it has done so far.
    pub counters: Counters,
}

/// What a worker has done since it started. None of these ever falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// How often a sequence had to give its blocks back.
    pub preemptions: u64,
    /// Prompt tokens of the requests that reached their first token.
    pub prompt_tokens: u64,
    /// Tokens that were drawn.
    pub generation_tokens: u64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens that were found there.
    pub prefix_hits: u64,
    /// Tokens that were guessed to follow, and checked.
    pub drafted: u64,
    /// Those of them that were right.
    pub accepted: u64,
}

/// A sign of life of the thread that computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Steps since the worker started.
    pub steps: u64,
    /// Whether it has work.
    pub busy: bool,
}
