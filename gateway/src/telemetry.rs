//! Logs as JSON lines, and traces over OTLP where an endpoint is configured.
//!
//! Nothing of a prompt or an answer is ever logged or traced: only names, counts and times.

mod export;
mod request;

use std::env;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use request::{
    outgoing, record_facts, record_placement, record_route, record_usage, request_span,
};

/// Who writes the logs and spans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// `gateway serve`.
    Gateway,
    /// `gateway worker`.
    Worker,
}

impl Service {
    /// OpenTelemetry's `service.name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "hanse-gateway",
            Self::Worker => "hanse-worker",
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("HANSE_LOG is no log level; use `info`, `debug` or `warn,gateway=debug`")]
    Level(#[source] tracing_subscriber::filter::ParseError),
    /// The OTLP exporter cannot be made.
    #[error("the OTLP exporter cannot be set up; check the OTEL_EXPORTER_OTLP_* variables")]
    Export(#[source] export::ExportError),
    /// Something else writes the logs already.
    #[error("telemetry was started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Running telemetry. Dropping it sends the spans that wait.
#[must_use]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logging to standard error, and tracing where `OTEL_EXPORTER_OTLP_ENDPOINT` or
/// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. `HANSE_LOG` sets the level, else `RUST_LOG`.
pub fn start(service: Service) -> Result<Telemetry, TelemetryError> {
    let level = ["HANSE_LOG", "RUST_LOG"].iter().find_map(|name| env::var(name).ok());
    let level = level.filter(|level| !level.trim().is_empty());
    let filter = EnvFilter::try_new(level.as_deref().unwrap_or("info"));
    let filter = filter.map_err(TelemetryError::Level)?;
    let provider = provider(service)?;
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service.name()))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
    });
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(traces)
        .with(logs)
        .try_init()
        .map_err(TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

fn provider(service: Service) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let endpoints = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let is_set = |name: &&str| env::var(name).is_ok_and(|endpoint| !endpoint.trim().is_empty());
    if !endpoints.iter().any(is_set) {
        return Ok(None);
    }
    let exporter = export::exporter().map_err(TelemetryError::Export)?;
    let resource = Resource::builder().with_service_name(service.name()).build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Ok(Some(provider))
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown()
        {
            eprintln!("some spans were not sent: {error}");
        }
    }
}

/// An error with its causes, for a log field: an error's own text does not repeat its source.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_logged_with_its_causes() {
        let source = std::io::Error::other("the disk is gone");
        let error = crate::listener::CertificateError::Read { path: "a.pem".into(), source };
        assert_eq!(causes(&error), "cannot read a.pem: the disk is gone");
    }
}
