//! Refusals as Anthropic's clients read them.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use serde::Serialize;

use super::{Refusal, ResidencyDetails};

/// `{"type": "error", "error": ..., "request_id": ...}`.
#[derive(Serialize, Debug)]
pub struct AnthropicBody {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

#[derive(Serialize, Debug)]
struct AnthropicError {
    #[serde(rename = "type")]
    kind: &'static str,
    message: String,
    details: Details,
}

/// What OpenAI's shape says beside the message, and what Anthropic's SDKs look for.
#[derive(Serialize, Debug)]
struct Details {
    error_code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    /// What a client has to do without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsupported: Vec<String>,
    #[serde(flatten)]
    residency: Option<ResidencyDetails>,
}

/// The `code` after which Anthropic's SDKs send the whole conversation again, without a thread.
const THREAD_UNSUPPORTED: &str = "thread_unsupported_request";

impl Refusal {
    /// The JSON body in Anthropic's shape, which is also the last event of a stream that fails.
    pub fn anthropic_body(&self, request_id: Option<&str>) -> AnthropicBody {
        let (status, _, error_code) = self.kind();
        let param = self.param().map(str::to_owned);
        let is_thread = error_code == THREAD_UNSUPPORTED;
        let unsupported = param.clone().filter(|_| is_thread).into_iter().collect();
        let residency = match self {
            Self::Denied(deny) => Some(ResidencyDetails::from(&**deny)),
            _ => None,
        };
        let details = Details { error_code, param, unsupported, residency };
        let error = AnthropicError { kind: kind(status), message: self.to_string(), details };
        AnthropicBody { kind: "error", error, request_id: request_id.map(str::to_owned) }
    }
}

/// Anthropic's `type`, which goes with the status.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::REQUEST_TIMEOUT => "timeout_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        status if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    }
}

/// Turns a refusal's body into Anthropic's shape; any other response stays as it is.
pub fn speak_anthropic(response: &mut Response, request_id: &str) {
    let Some(refusal) = response.extensions().get::<Arc<Refusal>>() else {
        return;
    };
    let body = refusal.anthropic_body(Some(request_id));
    let json = serde_json::to_vec(&body).expect("strings become JSON");
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(json);
}

#[cfg(test)]
mod tests {
    use engine_api::{EngineError, ModelId};
    use expect_test::expect;

    use super::*;
    use crate::api::fields::Invalid;

    #[test]
    fn a_type_goes_with_each_status_and_the_details_say_the_rest() {
        let thread = Invalid {
            param: Some("thread".into()),
            code: THREAD_UNSUPPORTED,
            message: "no".into(),
        };
        let table: [Refusal; 8] = [
            Refusal::Internal,
            Refusal::Busy,
            Refusal::NoRoute,
            Refusal::BodyTooLarge { max: 5 },
            thread.into(),
            Invalid::missing("max_tokens").into(),
            EngineError::UnknownModel(ModelId::new("x")).into(),
            crate::identity::AuthError::Missing.into(),
        ];
        let shown = |refusal: &Refusal| {
            let body = refusal.anthropic_body(Some("r"));
            serde_json::to_string(&body).expect("JSON") + "\n"
        };
        expect![[r#"
            {"type":"error","error":{"type":"api_error","message":"an internal error occurred; the operator finds its cause under the request id","details":{"error_code":"internal_error"}},"request_id":"r"}
            {"type":"error","error":{"type":"overloaded_error","message":"this gateway is busy; retry later","details":{"error_code":"overloaded"}},"request_id":"r"}
            {"type":"error","error":{"type":"not_found_error","message":"there is nothing at this path","details":{"error_code":"unknown_url"}},"request_id":"r"}
            {"type":"error","error":{"type":"request_too_large","message":"the body is larger than the limit of 5 bytes","details":{"error_code":"body_too_large"}},"request_id":"r"}
            {"type":"error","error":{"type":"invalid_request_error","message":"no","details":{"error_code":"thread_unsupported_request","param":"thread","unsupported":["thread"]}},"request_id":"r"}
            {"type":"error","error":{"type":"invalid_request_error","message":"`max_tokens` is required","details":{"error_code":"missing_required_parameter","param":"max_tokens"}},"request_id":"r"}
            {"type":"error","error":{"type":"not_found_error","message":"model `x` does not exist","details":{"error_code":"model_not_found","param":"model"}},"request_id":"r"}
            {"type":"error","error":{"type":"authentication_error","message":"no API key was given; send `Authorization: Bearer <key>`","details":{"error_code":"invalid_api_key"}},"request_id":"r"}
        "#]].assert_eq(&table.iter().map(shown).collect::<String>());
    }
}
