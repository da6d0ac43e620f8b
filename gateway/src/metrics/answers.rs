//! How long answers take and how they end, as their clients see it.

use std::time::{Duration, Instant};

use audit::Ending;
use engine_api::{Event, FinishReason, ModelId, Timings, Usage};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{EndLabels, Place};

// vLLM's, so that its dashboards and alerts fit
const FIRST_TOKEN: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const INTER_TOKEN: [f64; 19] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const REQUEST: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const TOKENS: [f64; 17] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5];

type Histograms = Family<Place, Histogram, fn() -> Histogram>;

/// The series of all answers. Clones count together.
#[derive(Clone, Debug)]
pub struct Answers {
    ended: Family<EndLabels, Counter>,
    first_token: Histograms,
    inter_token: Histograms,
    whole: Histograms,
    queue: Histograms,
    prefill: Histograms,
    decode: Histograms,
    prompt_tokens: Histograms,
}

impl Default for Answers {
    fn default() -> Self {
        let of_request = || Histograms::new_with_constructor(|| Histogram::new(REQUEST));
        Self {
            ended: Family::default(),
            first_token: Histograms::new_with_constructor(|| Histogram::new(FIRST_TOKEN)),
            inter_token: Histograms::new_with_constructor(|| Histogram::new(INTER_TOKEN)),
            whole: of_request(),
            queue: of_request(),
            prefill: of_request(),
            decode: of_request(),
            prompt_tokens: Histograms::new_with_constructor(|| Histogram::new(TOKENS)),
        }
    }
}

impl Answers {
    /// Makes the series of a place before anything happens there, so that a rate can be taken
    /// of the first answer.
    pub(super) fn prepare(&self, place: &Place) {
        for (_, _, family) in self.histograms() {
            drop(family.get_or_create(place));
        }
        for finished_reason in [STOP, LENGTH, ABORT, ERROR] {
            drop(self.ended.get_or_create(&EndLabels { place: place.clone(), finished_reason }));
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Answers that ended, by how";
        registry.register("vllm:request_success", help, self.ended.clone());
        for (name, help, family) in self.histograms() {
            registry.register(name, help, family.clone());
        }
    }

    fn histograms(&self) -> [(&'static str, &'static str, &Histograms); 7] {
        [
            (
                "vllm:time_to_first_token_seconds",
                "From a request's arrival at the gateway to its first token",
                &self.first_token,
            ),
            (
                "vllm:inter_token_latency_seconds",
                "From one token of an answer to the next, in the gateway",
                &self.inter_token,
            ),
            (
                "vllm:e2e_request_latency_seconds",
                "From a request's arrival at the gateway to the end of its answer",
                &self.whole,
            ),
            (
                "vllm:request_queue_time_seconds",
                "From a request's arrival at its worker to its first step",
                &self.queue,
            ),
            (
                "vllm:request_prefill_time_seconds",
                "From a request's first step to its first token",
                &self.prefill,
            ),
            (
                "vllm:request_decode_time_seconds",
                "From a request's first token to its last one",
                &self.decode,
            ),
            (
                "vllm:request_prompt_tokens",
                "Length of the prompts of requests that were answered",
                &self.prompt_tokens,
            ),
        ]
    }

    /// Watches a request that came at `received` and is given to an engine now.
    pub fn begin(&self, model: ModelId, received: Instant) -> AnswerTimer {
        AnswerTimer {
            answers: self.clone(),
            model,
            received,
            here: None,
            last_tokens: Vec::new(),
            reasons: Vec::new(),
            usage: None,
        }
    }
}

const STOP: &str = "stop";
const LENGTH: &str = "length";
const ABORT: &str = "abort";
const ERROR: &str = "error";

/// The series where a request runs, looked up once and not for every token.
struct Here {
    place: Place,
    first_token: Histogram,
    inter_token: Histogram,
}

/// One request on its way.
pub struct AnswerTimer {
    answers: Answers,
    model: ModelId,
    received: Instant,
    here: Option<Here>,
    /// By choice.
    last_tokens: Vec<Option<Instant>>,
    reasons: Vec<&'static str>,
    usage: Option<(Usage, Timings)>,
}

impl AnswerTimer {
    /// Enters an event.
    pub fn observe(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Placed(placement) => {
                let place = Place::placed(&self.model, placement);
                let first_token = self.answers.first_token.get_or_create_owned(&place);
                let inter_token = self.answers.inter_token.get_or_create_owned(&place);
                self.here = Some(Here { place, first_token, inter_token });
            }
            Event::Token(token) => self.token(usize::from(token.choice), now),
            Event::Output { .. } => {}
            Event::Finished(finished) => self.reasons.push(match finished.reason {
                FinishReason::Stop => STOP,
                FinishReason::Length => LENGTH,
            }),
            Event::Usage(usage, timings) => self.usage = Some((*usage, *timings)),
        }
    }

    fn token(&mut self, choice: usize, now: Instant) {
        let Some(here) = &self.here else { return };
        if self.last_tokens.iter().all(Option::is_none) {
            here.first_token.observe(seconds(now, self.received));
        }
        // choices are a byte
        if self.last_tokens.len() <= choice {
            self.last_tokens.resize(choice + 1, None);
        }
        if let Some(last) = self.last_tokens[choice].replace(now) {
            here.inter_token.observe(seconds(now, last));
        }
    }

    /// The request has ended. One that failed before it ran was refused, and is counted where
    /// refusals are.
    pub fn end(self, ending: Ending, now: Instant) {
        let answers = &self.answers;
        let ran = self.here.is_some();
        let place = self.here.map_or_else(|| Place::nowhere(&self.model), |here| here.place);
        let count = |finished_reason| {
            answers.ended.get_or_create(&EndLabels { place: place.clone(), finished_reason }).inc();
        };
        match (ending, self.usage) {
            (Ending::Completed, Some((usage, timings))) => {
                self.reasons.into_iter().for_each(&count);
                let observe = |family: &Histograms, value: f64| {
                    family.get_or_create(&place).observe(value);
                };
                observe(&answers.whole, seconds(now, self.received));
                observe(&answers.queue, timings.queue.as_secs_f64());
                observe(&answers.prefill, timings.prefill.as_secs_f64());
                observe(&answers.decode, timings.decode.as_secs_f64());
                observe(&answers.prompt_tokens, usage.prompt_tokens.into());
            }
            (Ending::Cancelled, _) => count(ABORT),
            _ if ran => count(ERROR),
            _ => {}
        }
    }
}

fn seconds(now: Instant, since: Instant) -> f64 {
    let time: Duration = now.saturating_duration_since(since);
    time.as_secs_f64()
}
