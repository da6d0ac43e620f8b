//! What an operator's Prometheus reads. `docs/metrics.md` lists every name.
//!
//! The engine's own are called as vLLM calls them, so that dashboards for it work here. No
//! label names a tenant, a key or a request: labels come from the operator's configuration and
//! from codes in this program, so their number is bounded and they tell nothing about who asks.

mod answers;
mod endpoint;
mod labels;
mod partitions;

use std::fmt;

use engine_fleet::{Incidents, PartitionStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use answers::{AnswerTimer, Answers};
pub use endpoint::MetricsEndpoint;
use labels::{EndpointLabels, OutcomeLabel, Place, ReasonLabel};

/// A write that has to reach the disk, in seconds.
const FLUSH_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What is counted while requests run. Clones count together.
#[derive(Clone, Debug)]
pub struct Instruments {
    /// TLS connections that are open.
    pub connections: Gauge,
    /// From handing an entry to the audit log until it is durable.
    pub flushes: Histogram,
    /// Requests at an engine.
    pub answers: Answers,
    decisions: Family<OutcomeLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    answered: Family<EndpointLabels, Counter>,
}

impl Default for Instruments {
    fn default() -> Self {
        let decisions = Family::<OutcomeLabel, Counter>::default();
        // both are there from the beginning, so that a rate can be taken of the first
        for outcome in [ALLOWED, DENIED] {
            drop(decisions.get_or_create(&OutcomeLabel { outcome }));
        }
        Self {
            connections: Gauge::default(),
            flushes: Histogram::new(FLUSH_BUCKETS),
            answers: Answers::default(),
            decisions,
            refused: Family::default(),
            answered: Family::default(),
        }
    }
}

const ALLOWED: &str = "allowed";
const DENIED: &str = "denied";

impl Instruments {
    /// Policy decided.
    pub fn decided(&self, allowed: bool) {
        let outcome = if allowed { ALLOWED } else { DENIED };
        self.decisions.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A request got an error instead of an answer; the reason is the error's code.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The head of a response went out; `endpoint` is a route, and never what a client sent.
    pub fn answered(&self, endpoint: &'static str, status: u16) {
        self.answered.get_or_create(&EndpointLabels { endpoint, status }).inc();
    }
}

/// What is looked at when somebody reads the metrics.
pub struct Observed {
    /// How the partitions are.
    pub partitions: Box<dyn Fn() -> Vec<PartitionStatus> + Send + Sync>,
    /// What went wrong with requests in the fleet.
    pub incidents: Box<dyn Fn() -> Incidents + Send + Sync>,
    /// Requests between their decision and their last entry in the audit log.
    pub in_flight: Box<dyn Fn() -> u32 + Send + Sync>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        partitions::encode(&(self.partitions)(), &mut encoder)?;
        let Incidents { resumed, paused, quarantined } = (self.incidents)();
        for (name, help, count) in [
            (
                "hanse_requests_resumed",
                "Requests that went on elsewhere after their worker was gone",
                resumed,
            ),
            (
                "hanse_requests_paused",
                "Requests that were paused because their reader was too slow",
                paused,
            ),
            (
                "hanse_requests_quarantined",
                "Requests that were given up because workers died on them",
                quarantined,
            ),
        ] {
            partitions::counter(&mut encoder, name, help, count)?;
        }
        let help = "Requests between their decision and their last entry in the audit log";
        encoder
            .encode_descriptor("hanse_requests_in_flight", help, None, MetricType::Gauge)?
            .encode_gauge(&(self.in_flight)())
    }
}

/// Everything that there is to read.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics of a gateway that counts with these instruments.
    pub fn new(instruments: &Instruments, observed: Observed) -> Self {
        for status in (observed.partitions)() {
            instruments.answers.prepare(&Place::of(&status));
        }
        let mut registry = Registry::default();
        instruments.answers.register(&mut registry);
        registry.register(
            "hanse_connections",
            "Open TLS connections of clients",
            instruments.connections.clone(),
        );
        registry.register(
            "hanse_decisions",
            "Decisions of the policies, by outcome",
            instruments.decisions.clone(),
        );
        registry.register(
            "hanse_requests_refused",
            "Requests that got an error instead of an answer, by the error's code",
            instruments.refused.clone(),
        );
        registry.register(
            "hanse_http_requests",
            "Requests by the route that answered them and the status that it gave",
            instruments.answered.clone(),
        );
        registry.register(
            "hanse_audit_append_seconds",
            "From handing an entry to the audit log until it is on the disk",
            instruments.flushes.clone(),
        );
        registry.register_collector(Box::new(observed));
        Self { registry }
    }

    /// In Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a string takes all text");
        text
    }
}

#[cfg(test)]
mod tests;
