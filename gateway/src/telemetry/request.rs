//! The span of a request, with OpenTelemetry's HTTP and generative AI attributes
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/>).

use engine_api::{ModelId, Placement, TraceContext, Usage};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use policy::TenantId;
use tracing::field::{Empty, display};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Opens the span of a request. What is not known yet is recorded later.
pub fn request_span(method: &http::Method, id: &str, caller: Option<TraceContext>) -> Span {
    let span = info_span!(
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = Empty,
        http.response.status_code = Empty,
        hanse.request = id,
        hanse.client_request = Empty,
        hanse.tenant = Empty,
        hanse.zone = Empty,
        hanse.partition = Empty,
        gen_ai.operation.name = Empty,
        gen_ai.provider.name = Empty,
        gen_ai.request.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
    );
    if let Some(caller) = caller {
        let remote = SpanContext::new(
            TraceId::from_bytes(caller.trace_id),
            SpanId::from_bytes(caller.span_id),
            TraceFlags::new(caller.flags),
            true,
            TraceState::default(),
        );
        // an error means that no traces are exported, and then there is no parent to set
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }
    span
}

/// The context that goes on to the engine: our own span where traces are exported, else what
/// the caller sent.
pub fn outgoing(caller: Option<TraceContext>) -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span();
    let own = span.span_context();
    if !own.is_valid() {
        return caller;
    }
    Some(TraceContext {
        trace_id: own.trace_id().to_bytes(),
        span_id: own.span_id().to_bytes(),
        flags: own.trace_flags().to_u8(),
    })
}

/// Which route it takes: the pattern, never the path that a client sent.
pub fn record_route(method: &http::Method, route: &str) {
    let span = Span::current();
    // the span has begun, and its name changes only this way
    span.context().span().update_name(format!("{method} {route}"));
    span.record("http.route", route);
}

/// Who asks for what.
pub fn record_facts(tenant: &TenantId, model: &ModelId) {
    let span = Span::current();
    span.record("hanse.tenant", display(tenant));
    span.record("gen_ai.operation.name", "chat");
    span.record("gen_ai.provider.name", "hanse");
    span.record("gen_ai.request.model", display(model));
}

/// Where it runs.
pub fn record_placement(placement: &Placement) {
    let span = Span::current();
    span.record("hanse.zone", display(&placement.zone));
    span.record("hanse.partition", display(&placement.partition));
}

/// What it used.
pub fn record_usage(usage: Usage) {
    let span = Span::current();
    span.record("gen_ai.usage.input_tokens", usage.prompt_tokens);
    span.record("gen_ai.usage.output_tokens", usage.completion_tokens);
}
