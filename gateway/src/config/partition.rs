//! Shares of a machine.

use std::fmt;
use std::num::NonZeroUsize;

use engine_api::ModelKind;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;

use super::{KvMemory, Name};

/// A `[[partition]]`: one share of a device that runs one model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionConfig {
    /// Its name, for example `cpu-0`.
    pub id: Spanned<Name>,
    /// Which `[[model]]` it runs.
    pub model: Spanned<Name>,
    /// Which `[[zone]]` it stands in.
    pub zone: Spanned<Name>,
    /// What the model does.
    #[serde(default)]
    pub kind: Kind,
    /// What it computes on.
    #[serde(default)]
    pub device: Device,
    /// How many cores it uses.
    #[serde(default)]
    pub threads: Threads,
    /// Memory for K and V; the weights come on top. Where texts are generated, and only there.
    pub kv_memory: Option<KvMemory>,
}

/// What the model of a partition does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Goes on with a text: chats and completions.
    #[default]
    Generate,
    /// Makes a vector of a text: embeddings.
    Embed,
}

impl From<Kind> for ModelKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Generate => Self::Generate,
            Kind::Embed => Self::Embed,
        }
    }
}

impl PartitionConfig {
    /// What its kind asks of the other lines; `Err` says what is wrong, and what to do.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let id = self.id.get_ref().as_str();
        match (self.kind, self.kv_memory) {
            (Kind::Generate, None) => Err((
                format!("the partition `{id}` has no kv_memory, where running requests are kept"),
                "add, for example, kv_memory = \"512MiB\"".into(),
            )),
            (Kind::Embed, Some(_)) => Err((
                format!("the partition `{id}` makes embeddings, which keep nothing in kv_memory"),
                "remove the line kv_memory".into(),
            )),
            (Kind::Embed, None) if self.device != Device::Cpu => Err((
                format!("the partition `{id}` makes embeddings, which are computed on a CPU"),
                "write device = \"cpu\"".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// What a partition computes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU, by its number among those that the gateway's `CUDA_VISIBLE_DEVICES` leaves.
    Cuda(u32),
}

impl fmt::Display for Device {
    /// As the engine names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (name.as_str(), number) {
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(number)) if cfg!(feature = "cuda") => Ok(Self::Cuda(number)),
            (_, Some(_)) => {
                Err(format!("this build cannot use {name:?}: build it with `--features cuda`"))
            }
            _ => {
                Err(format!("unknown device {name:?}: it is `cpu`, or `cuda:0` for the first GPU"))
            }
        }
    }
}

/// How many cores a partition uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Threads {
    /// Every core that the process may run on: `"all"`, or nothing written.
    #[default]
    All,
    /// This many, at most 1024.
    Count(NonZeroUsize),
}

impl Threads {
    /// The number, on this machine.
    pub fn count(self) -> usize {
        match self {
            Self::All => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Self::Count(count) => count.get(),
        }
    }
}

struct ThreadsVisitor;

impl Visitor<'_> for ThreadsVisitor {
    type Value = Threads;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number of threads from 1 to 1024, or \"all\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Threads, E> {
        match text {
            "all" => Ok(Threads::All),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Threads, E> {
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= 1024)
            .and_then(NonZeroUsize::new)
            .map(Threads::Count)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(count), &self))
    }
}

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ThreadsVisitor)
    }
}
