//! What the log holds. Entries hold no text of a prompt or an answer and no credential.
//!
//! The order of fields here is their order in the file. A later version may add fields; it
//! never renames or reorders one.

use serde::{Deserialize, Serialize};

use crate::{Digest, Timestamp};

/// One entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A gateway opened the log.
    Started(Started),
    /// A gateway closes the log in order.
    Stopped(Stopped),
    /// Something that decisions depend on was loaded or changed.
    Configuration(Configuration),
    /// A request was permitted or denied. A denial is the request's end too.
    Decision(Box<Decision>),
    /// A permitted request ended.
    Terminal(Box<Terminal>),
}

/// A gateway opened the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Started {
    /// When.
    pub time: Timestamp,
    /// The gateway's version.
    pub version: String,
    /// A random name of this run of the gateway.
    pub instance: String,
    /// Bytes of incomplete entries that were cut off when the log was opened
    /// ([`crate::Recovery::cut_bytes`]).
    pub cut_bytes: u64,
    /// Requests without an end that were found when the log was opened.
    pub unfinished: u64,
}

/// A gateway closes the log in order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stopped {
    /// When.
    pub time: Timestamp,
    /// The same name as in [`Started`].
    pub instance: String,
    /// Why, for example `signal`.
    pub reason: String,
}

/// Something that decisions depend on was loaded or changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// When.
    pub time: Timestamp,
    /// What: `policies`, `models`, `keys`, `issuers`, `certificate`.
    pub what: String,
    /// Its digest before; `None` where it was loaded for the first time.
    pub before: Option<Digest>,
    /// Its digest from now on.
    pub after: Digest,
}

/// How a caller proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// With a key of this gateway.
    ApiKey,
    /// With a token of a configured issuer.
    Jwt,
}

/// Who asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Principal {
    /// How it was proved.
    pub kind: PrincipalKind,
    /// The key's name, or the token's `sub`.
    pub subject: String,
    /// The public id of the API key, or the `kid` of the issuer's key.
    pub key: Option<String>,
}

/// A zone with its jurisdiction on that day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Zone {
    /// For example `eu-de-1`.
    pub zone: String,
    /// An ISO 3166 code, for example `DE`.
    pub jurisdiction: String,
}

/// What the policies said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The request may run in the permitted zones.
    Permit,
    /// It may not run.
    Deny(Deny),
}

/// Why a request may not run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deny {
    /// The stable code, for example `residency_violation`.
    pub reason: String,
    /// The rule that found it, for example `residency`.
    pub rule: String,
    /// The policy's own sentence: names of zones, jurisdictions and models, never content.
    pub detail: String,
}

/// Every number that the result depends on, with defaults resolved. What a caller wrote as
/// text (stop strings) is only counted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parameters {
    /// 0 to 2.
    pub temperature: f32,
    /// 0 to 1.
    pub top_p: f32,
    /// The seed of every draw, whether given or made by the gateway. Written as a string,
    /// because many JSON readers round integers over 2^53.
    #[serde(with = "as_string")]
    pub seed: u64,
    /// -2 to 2.
    pub frequency_penalty: f32,
    /// -2 to 2.
    pub presence_penalty: f32,
    /// How many of the likeliest tokens stayed; absent where all did, as in older entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// 0 to 1; absent where it left no token out, as in older entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// 0.01 to 100; absent where it was 1, as in older entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Number of biased tokens.
    pub logit_bias: u32,
    /// Longest answer, in tokens per choice.
    pub max_tokens: u32,
    /// Shortest answer, in tokens per choice.
    pub min_tokens: u32,
    /// Number of stop strings.
    pub stop: u32,
    /// Number of stop tokens; absent where there were none, as in older entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_tokens: Option<u32>,
    /// Whether end tokens are ignored.
    pub ignore_eos: bool,
    /// Number of answers.
    pub choices: u32,
    /// Whether log-probabilities were asked for, and how many alternatives.
    pub logprobs: Option<u32>,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// The form that was demanded of the answer; absent where none was, as in older entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demanded: Option<Demanded>,
}

/// The form that a request demands of its answer. Of tools there are the names, and of schemas,
/// expressions and grammars nothing but the digest of what was made of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Demanded {
    /// Names of the tools that were offered.
    pub tools: Vec<String>,
    /// `auto`, `none`, `required`, `named`, `allowed` or `allowed_required`.
    pub tool_choice: String,
    /// The tools that the choice names.
    pub chosen: Vec<String>,
    /// `text`, `json_object`, `json_schema`, `regex`, `choice` or `grammar`.
    pub response_format: String,
    /// SHA-256 of the grammar that the answer had to follow; `None` where anything could be said.
    pub grammar: Option<Digest>,
}

/// Every number that vectors depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Embedding {
    /// Number of texts.
    pub texts: u32,
    /// Length of each vector.
    pub dimensions: u32,
}

/// A request was permitted or denied.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub time: Timestamp,
    /// The request's id, made by the gateway.
    pub request: String,
    /// Whose request.
    pub tenant: String,
    /// Who asked.
    pub principal: Principal,
    /// For example `/v1/chat/completions`.
    pub endpoint: String,
    /// The model's name.
    pub model: String,
    /// SHA-256 of its weights, where it is known.
    pub model_digest: Option<Digest>,
    /// Where the model could run.
    pub candidates: Vec<Zone>,
    /// The countries that the caller narrowed the request to.
    pub narrowed: Option<Vec<String>>,
    /// Names of the zones where the request may run; empty in a denial.
    pub permitted: Vec<String>,
    /// What the policies said.
    pub outcome: Outcome,
    /// The rules that made a permit, in order, or the one that denied.
    pub rules: Vec<String>,
    /// The policies that were in force.
    pub policies: Digest,
    /// With which numbers; `None` where the request was denied before they were known.
    pub parameters: Option<Parameters>,
    /// Length of the prompt, in tokens, where it was counted; of all texts that are embedded.
    pub prompt_tokens: Option<u32>,
    /// With which numbers texts are embedded; absent where none are, as in older entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
}

/// How a permitted request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every choice finished.
    Completed,
    /// It ended with an error.
    Failed,
    /// The caller went away.
    Cancelled,
    /// The gateway stopped before it could say; entered when the log is opened again.
    Unknown,
}

/// One placement of a request on a partition.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// The partition.
    pub partition: String,
    /// Its zone.
    pub zone: String,
    /// Which start of its worker.
    pub epoch: u64,
    /// What its results are bit-identical with.
    pub numerics: String,
    /// SHA-256 of the weights that ran.
    pub model_digest: Digest,
}

/// Exact counts, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Length of the prompt.
    pub prompt_tokens: u32,
    /// Tokens drawn over all choices.
    pub completion_tokens: u32,
    /// Prompt tokens that came from the prefix cache.
    pub cached_tokens: u32,
}

/// How long it took, in milliseconds since the request was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Durations {
    /// Until it was given to the engine.
    pub dispatched_ms: Option<u64>,
    /// Until the first token.
    pub first_token_ms: Option<u64>,
    /// Until its end.
    pub total_ms: Option<u64>,
}

/// A permitted request ended. There is exactly one for each permit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Terminal {
    /// When.
    pub time: Timestamp,
    /// The request's id.
    pub request: String,
    /// Index of its decision.
    pub decision: u64,
    /// How it ended.
    pub outcome: Ending,
    /// Where it ran, in order.
    pub attempts: Vec<Attempt>,
    /// What it used; `None` where it is not known.
    pub usage: Option<Usage>,
    /// Why each choice finished, by choice; shorter where some did not.
    pub finish_reasons: Vec<String>,
    /// The stable code of the error, for example `overloaded`.
    pub error: Option<String>,
    /// How long it took.
    pub durations: Durations,
    /// Names of the tools that the answers call, in order, at most
    /// [`Terminal::TOOL_CALLS_MAX`]; absent where there are none, as in older entries. Never
    /// what they are called with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<String>,
}

impl Terminal {
    /// The most names of called tools that are entered.
    pub const TOOL_CALLS_MAX: usize = 256;

    /// The end of a request of which nothing more is known than its decision: what a gateway
    /// appends for each of [`crate::Recovery::unfinished`].
    pub fn unknown(time: Timestamp, unfinished: &crate::Unfinished) -> Self {
        Self {
            time,
            request: unfinished.request.clone(),
            decision: unfinished.decision,
            outcome: Ending::Unknown,
            attempts: Vec::new(),
            usage: None,
            finish_reasons: Vec::new(),
            error: None,
            durations: Durations::default(),
            tool_calls: Vec::new(),
        }
    }
}

impl Entry {
    /// The canonical bytes: JSON without white space, fields in the order of this file.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("entries hold only what JSON can write")
    }
}

mod as_string {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
