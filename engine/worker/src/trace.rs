//! Spans of requests and of their part in each step, in the trace of whoever asked.

use engine_api::{RequestId, Submission, TraceContext};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Bit 0 of the flags: the trace is recorded.
const SAMPLED: u8 = 1;

/// The span of a request, open until it ends. It names no content.
pub(crate) fn request(submission: &Submission) -> Span {
    let prompt_tokens = submission.prompt.ids.len();
    let span = tracing::info_span!("worker.request", id = %submission.id, prompt_tokens);
    joined(span, submission.trace)
}

/// The span of a request for vectors.
pub(crate) fn embedding(id: &RequestId, prompt_tokens: u32, trace: Option<TraceContext>) -> Span {
    joined(tracing::info_span!("worker.request", %id, prompt_tokens), trace)
}

/// In the trace of whoever asked.
fn joined(span: Span, trace: Option<TraceContext>) -> Span {
    if let Some(context) = trace.filter(is_sampled) {
        // without a subscriber that exports traces there is nothing to join
        let _ = span.set_parent(remote(&context));
    }
    span
}

/// The span of one chunk of a request in one step; nothing for requests that are not traced.
pub(crate) fn step(submission: &Submission, parent: &Span, start: u32, tokens: u32) -> Span {
    if !submission.trace.as_ref().is_some_and(is_sampled) {
        return Span::none();
    }
    tracing::info_span!(parent: parent, "worker.step", start, tokens)
}

fn is_sampled(context: &TraceContext) -> bool {
    context.flags & SAMPLED != 0
}

fn remote(context: &TraceContext) -> Context {
    let span = SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        TraceFlags::new(context.flags),
        true,
        TraceState::default(),
    );
    Context::new().with_remote_span_context(span)
}
