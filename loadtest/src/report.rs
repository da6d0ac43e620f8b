//! The figures of a run.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::options::Options;
use crate::run::Outcome;
use crate::statistics::Distribution;

/// One distribution, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The part of the JSON names that says of what: `ttft`, `tpot`, `itl` or `e2el`.
    pub name: &'static str,
    /// Mean.
    pub mean: f64,
    /// Half are shorter.
    pub median: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// One in ten is longer.
    pub p90: f64,
    /// One in a hundred is longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Summary {
    fn new(name: &'static str, of: &Distribution) -> Self {
        Self {
            name,
            mean: of.mean(),
            median: of.percentile(50.0),
            deviation: of.deviation(),
            p90: of.percentile(90.0),
            p99: of.percentile(99.0),
            max: of.max(),
        }
    }

    fn write(&self, fields: &mut Map<String, Value>) {
        for (statistic, value) in [
            ("mean", self.mean),
            ("median", self.median),
            ("std", self.deviation),
            ("p90", self.p90),
            ("p99", self.p99),
            ("max", self.max),
        ] {
            fields.insert(format!("{statistic}_{}_ms", self.name), value.into());
        }
    }
}

/// The figures of a run. Names are those of `vllm bench serve` where it has one.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The API that was spoken.
    pub backend: &'static str,
    /// The model that was asked.
    pub model_id: String,
    /// How many requests were to be sent.
    pub num_prompts: u64,
    /// Requests a second in the open loop; `inf` in the closed one.
    pub request_rate: Value,
    /// Clients of the closed loop.
    pub max_concurrency: Option<u32>,
    /// Seed of prompts and arrival times.
    pub seed: u64,
    /// Words of each prompt.
    pub prompt_words: u32,
    /// `max_tokens` of each request.
    pub max_tokens: u32,
    /// Whether answers may end before that.
    pub allow_eos: bool,
    /// Seconds, from the first request to the last answer.
    pub duration: f64,
    /// Requests with a whole answer.
    pub completed: u64,
    /// All others.
    pub failed: u64,
    /// Failures by kind.
    pub errors_by_code: Map<String, Value>,
    /// Tokens of the prompts of completed requests.
    pub total_input_tokens: u64,
    /// Tokens of their answers.
    pub total_output_tokens: u64,
    /// Completed requests a second.
    pub request_throughput: f64,
    /// Output tokens a second.
    pub output_throughput: f64,
    /// Input and output tokens a second.
    pub total_token_throughput: f64,
    /// `mean_ttft_ms` and so on.
    #[serde(serialize_with = "write_latencies", flatten)]
    pub latencies: [Summary; 4],
    /// How late the client sent, 99th percentile, in milliseconds.
    pub p99_client_lag_ms: f64,
    /// The latest that it sent, in milliseconds.
    pub max_client_lag_ms: f64,
    /// Why the figures say nothing about the server.
    pub void: Option<String>,
}

impl Report {
    /// Sums a run up.
    pub fn new(options: &Options, model: &str, outcome: &Outcome) -> Self {
        let all = &outcome.statistics;
        let seconds = outcome.elapsed.as_secs_f64();
        let failures = all.failures.iter().map(|(name, count)| (name.clone(), (*count).into()));
        Self {
            backend: "openai-chat",
            model_id: model.to_string(),
            num_prompts: outcome.planned,
            request_rate: options.rate.map_or("inf".into(), Value::from),
            max_concurrency: options.rate.is_none().then_some(options.concurrency),
            seed: options.seed,
            prompt_words: options.prompt_words,
            max_tokens: options.output_tokens,
            allow_eos: options.allow_eos,
            duration: seconds,
            completed: all.completed,
            failed: all.failed(),
            errors_by_code: failures.collect(),
            total_input_tokens: all.input_tokens,
            total_output_tokens: all.output_tokens,
            request_throughput: all.completed as f64 / seconds,
            output_throughput: all.output_tokens as f64 / seconds,
            total_token_throughput: (all.input_tokens + all.output_tokens) as f64 / seconds,
            latencies: [
                Summary::new("ttft", &all.first),
                Summary::new("tpot", &all.per_token),
                Summary::new("itl", &all.gap),
                Summary::new("e2el", &all.total),
            ],
            p99_client_lag_ms: all.lag.percentile(99.0),
            max_client_lag_ms: all.lag.max(),
            void: void(options, &all.lag),
        }
    }
}

/// A client that sends late hides the server's worst moments: its figures must not be used.
fn void(options: &Options, lag: &Distribution) -> Option<String> {
    let (late, allowed) = (lag.percentile(99.0), options.lag_ms_max);
    (options.rate.is_some() && late > allowed as f64).then(|| {
        format!(
            "1 in 100 requests left {late:.0} ms late or later, and {allowed} ms are allowed; use \
             a lower --rate, a higher --in-flight-max or a faster client"
        )
    })
}

fn write_latencies<S: serde::Serializer>(
    latencies: &[Summary; 4],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut fields = Map::new();
    latencies.iter().for_each(|summary| summary.write(&mut fields));
    fields.serialize(serializer)
}
