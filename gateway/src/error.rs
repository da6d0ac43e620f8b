//! Every reason for which a request is not answered, and what HTTP says of it.
//!
//! This file and its folder alone turn errors into statuses and bodies. A client reads OpenAI's
//! shape, `{"error": {"message", "type", "param", "code"}}`, or Anthropic's where it speaks
//! Anthropic's API; what is our own fault has a constant
//! text, and its cause is in the log under the request's id.

mod anthropic;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use engine_api::EngineError;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use policy::{Deny, DenyReason, NarrowingError};
use serde::Serialize;

use crate::api::fields::Invalid;
use crate::api::json::JsonError;
use crate::identity::AuthError;
use crate::pipeline::Receipt;
use crate::reservation::LimitReached;

pub use anthropic::{AnthropicBody, speak_anthropic};

/// The name of a request's evidence.
pub const RECEIPT: HeaderName = HeaderName::from_static("x-hanse-receipt");

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The caller is not known.
    #[error(transparent)]
    Unauthenticated(#[from] AuthError),
    /// There is nothing at this path.
    #[error("there is nothing at this path")]
    NoRoute,
    /// The path does not take this method.
    #[error("this path does not take this method")]
    Method {
        /// What it takes, for `Allow`.
        allowed: &'static str,
    },
    /// The body is larger than we take.
    #[error("the body is larger than the limit of {max} bytes")]
    BodyTooLarge {
        /// The limit.
        max: usize,
    },
    /// The body did not come in time.
    #[error("the body did not arrive within {} s", max.as_secs())]
    BodyTooSlow {
        /// The limit.
        max: Duration,
    },
    /// The body ended early or broke HTTP.
    #[error("the body could not be read to its end")]
    BodyBroken,
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON that we cannot act on.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The residency header cannot be read.
    #[error("the header `x-hanse-residency` cannot be read: {0}")]
    Narrowing(#[from] NarrowingError),
    /// Policy forbids it.
    #[error(transparent)]
    Denied(Box<Deny>),
    /// The tenant used what it may.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The engine did not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The audit log cannot be made durable, so nothing may run.
    #[error("the audit log is not available, so nothing can be served")]
    AuditUnavailable,
    /// More requests run than this gateway takes.
    #[error("this gateway is busy; retry later")]
    Busy,
    /// The gateway shuts down.
    #[error("this gateway is shutting down; retry with another one")]
    Draining,
    /// A fault of ours.
    #[error("an internal error occurred; the operator finds its cause under the request id")]
    Internal,
}

impl From<Deny> for Refusal {
    fn from(deny: Deny) -> Self {
        Self::Denied(Box::new(deny))
    }
}

/// OpenAI's `type`.
const REQUEST: &str = "invalid_request_error";
const PERMISSION: &str = "permission_error";
const RATE: &str = "rate_limit_error";
const SERVER: &str = "server_error";

impl Refusal {
    /// Status, OpenAI's `type`, OpenAI's `code`.
    pub fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, REQUEST, "invalid_api_key"),
            Self::NoRoute => (StatusCode::NOT_FOUND, REQUEST, "unknown_url"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, REQUEST, "method_not_allowed"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, REQUEST, "body_too_large"),
            Self::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, REQUEST, "body_timeout"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, REQUEST, "body_incomplete"),
            Self::Json(_) => (StatusCode::BAD_REQUEST, REQUEST, "invalid_json"),
            Self::Invalid(invalid) => (StatusCode::BAD_REQUEST, REQUEST, invalid.code),
            Self::Narrowing(_) => (StatusCode::BAD_REQUEST, REQUEST, "invalid_header"),
            Self::Denied(deny) => (StatusCode::FORBIDDEN, PERMISSION, deny.reason.code()),
            Self::Limit(_) => (StatusCode::TOO_MANY_REQUESTS, RATE, "rate_limit_exceeded"),
            Self::Engine(error) => engine_kind(error),
            Self::AuditUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, SERVER, "audit_unavailable")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "overloaded"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "draining"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
        }
    }

    /// OpenAI's `param`: the field that is to blame.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Invalid(invalid) => invalid.param.as_deref(),
            Self::Engine(EngineError::UnknownModel(_)) => Some("model"),
            Self::Engine(EngineError::PromptTooLong { .. }) => Some("messages"),
            Self::Engine(EngineError::Invalid { param, .. }) => Some(param),
            Self::Engine(EngineError::Unsupported(param)) => Some(param),
            Self::Narrowing(_) => Some("x-hanse-residency"),
            Self::Denied(deny) => match deny.reason {
                DenyReason::ModelNotAllowed { .. } | DenyReason::ResidencyViolation { .. } => {
                    Some("model")
                }
                DenyReason::NarrowingEmpty { .. } => Some("x-hanse-residency"),
                DenyReason::OutputTooLong { .. } => Some("max_tokens"),
                DenyReason::PromptTooLong { .. } => Some("messages"),
                DenyReason::UnknownTenant(_) | DenyReason::TenantDisabled(_) => None,
            },
            _ => None,
        }
    }

    /// When the client may try again; clients give up on more than two minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        let wait = match self {
            Self::Limit(limit) => limit.retry_after(),
            Self::Engine(EngineError::Overloaded { retry_after }) => *retry_after,
            Self::Engine(EngineError::DeadlineExceeded { retry_after }) => *retry_after,
            Self::Engine(EngineError::Unavailable { retry_after, .. }) => *retry_after,
            Self::AuditUnavailable => Duration::from_secs(5),
            Self::Busy | Self::Draining | Self::Engine(EngineError::Draining) => {
                Duration::from_secs(1)
            }
            _ => return None,
        };
        Some(wait.min(Duration::from_secs(60)))
    }

    /// The JSON body, which is also the last event of a stream that fails.
    pub fn body(&self) -> ErrorBody {
        let (_, kind, code) = self.kind();
        let residency = match self {
            Self::Denied(deny) => Some(ResidencyDetails::from(&**deny)),
            _ => None,
        };
        let message = self.to_string();
        let param = self.param().map(str::to_owned);
        ErrorBody { error: ErrorObject { message, kind, param, code, residency } }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after() {
            let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
            headers.insert(RETRY_AFTER, seconds.into());
            headers.insert("retry-after-ms", (wait.as_millis().max(1) as u64).into());
        }
        match self {
            Self::Unauthenticated(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Method { allowed } => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            // trying it again would kill more workers
            Self::Engine(EngineError::Quarantined) => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            _ => {}
        }
        headers
    }
}

fn engine_kind(error: &EngineError) -> (StatusCode, &'static str, &'static str) {
    match error {
        EngineError::UnknownModel(_) => (StatusCode::NOT_FOUND, REQUEST, "model_not_found"),
        EngineError::PromptTooLong { .. } => {
            (StatusCode::BAD_REQUEST, REQUEST, "context_length_exceeded")
        }
        EngineError::Invalid { .. } => (StatusCode::BAD_REQUEST, REQUEST, "invalid_value"),
        EngineError::Unsupported(_) => (StatusCode::BAD_REQUEST, REQUEST, "unsupported_parameter"),
        EngineError::Overloaded { .. } => (StatusCode::TOO_MANY_REQUESTS, RATE, "overloaded"),
        EngineError::DeadlineExceeded { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, SERVER, "deadline_exceeded")
        }
        EngineError::Unavailable { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, SERVER, "model_unavailable")
        }
        EngineError::Draining => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "draining"),
        EngineError::Quarantined => {
            (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "request_quarantined")
        }
        EngineError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
    }
}

/// `{"error": ...}`.
#[derive(Serialize, Debug)]
pub struct ErrorBody {
    error: ErrorObject,
}

#[derive(Serialize, Debug)]
struct ErrorObject {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    code: &'static str,
    #[serde(flatten)]
    residency: Option<ResidencyDetails>,
}

/// What a program needs to act on a denial.
#[derive(Serialize, Debug)]
struct ResidencyDetails {
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Vec<Place>>,
}

#[derive(Serialize, Debug)]
struct Place {
    zone: String,
    jurisdiction: String,
}

impl From<&Deny> for ResidencyDetails {
    fn from(deny: &Deny) -> Self {
        let mut details = Self { rule: deny.rule.as_str(), permitted: None, available: None };
        match &deny.reason {
            DenyReason::ResidencyViolation { permitted, available, .. } => {
                details.permitted = Some(permitted.iter().map(ToString::to_string).collect());
                let place = |candidate: &policy::Candidate| Place {
                    zone: candidate.zone.to_string(),
                    jurisdiction: candidate.jurisdiction.to_string(),
                };
                details.available = Some(available.iter().map(place).collect());
            }
            DenyReason::NarrowingEmpty { permitted, .. } => {
                details.permitted = Some(permitted.iter().map(ToString::to_string).collect());
            }
            _ => {}
        }
        details
    }
}

/// What an endpoint calls the fields that chat calls `messages` and `max_tokens`, so that `param`
/// is always a field that the client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldNames {
    /// What the model reads.
    pub prompt: &'static str,
    /// How long its answer may be.
    pub max_tokens: &'static str,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self { prompt: "messages", max_tokens: "max_tokens" }
    }
}

impl FieldNames {
    fn rename(self, error: EngineError) -> EngineError {
        match error {
            EngineError::Invalid { param: "messages", message } => {
                EngineError::Invalid { param: self.prompt, message }
            }
            EngineError::Invalid { param: "max_tokens", message } => {
                EngineError::Invalid { param: self.max_tokens, message }
            }
            error => error,
        }
    }

    fn param(self, param: String) -> String {
        match param.as_str() {
            "messages" => self.prompt.to_owned(),
            "max_tokens" => self.max_tokens.to_owned(),
            _ => param,
        }
    }
}

/// A refusal with the evidence that it left, if it left any.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The entry in the audit log.
    pub receipt: Option<Receipt>,
    /// Length of the prompt, where it got so far as to be counted.
    pub prompt_tokens: Option<u32>,
    /// What the client calls its fields.
    pub fields: FieldNames,
}

impl Refused {
    /// The same to a client that calls its fields so.
    pub fn naming(self, fields: FieldNames) -> Self {
        let refusal = match self.refusal {
            Refusal::Engine(error) => Refusal::Engine(fields.rename(error)),
            refusal => refusal,
        };
        Self { refusal, fields, ..self }
    }

    /// The JSON body.
    fn body(&self) -> ErrorBody {
        let mut body = self.refusal.body();
        body.error.param = body.error.param.map(|param| self.fields.param(param));
        body
    }
}

/// What a response tells about the refusal that it came from: nothing that a client wrote.
#[derive(Clone, Copy, Debug)]
pub struct RefusalNote {
    /// OpenAI's `code`.
    pub reason: &'static str,
    status: StatusCode,
    prompt_tokens: Option<u32>,
}

impl RefusalNote {
    /// Says it to the operator; the span of the request has its id.
    pub fn log(&self) {
        let Self { reason, status, prompt_tokens } = *self;
        let status = status.as_u16();
        if self.status.is_server_error() {
            tracing::warn!(status, reason, prompt_tokens, "request refused");
        } else {
            tracing::info!(status, reason, prompt_tokens, "request refused");
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, receipt: None, prompt_tokens: None, fields: FieldNames::default() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, _, reason) = self.refusal.kind();
        let body = serde_json::to_vec(&self.body()).expect("strings become JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = self.refusal.headers();
        let prompt_tokens = self.prompt_tokens;
        response.extensions_mut().insert(RefusalNote { reason, status, prompt_tokens });
        // for clients that read another shape
        response.extensions_mut().insert(Arc::new(self.refusal));
        if let Some(receipt) = self.receipt {
            response.headers_mut().insert(RECEIPT, receipt.header());
        }
        response
    }
}
