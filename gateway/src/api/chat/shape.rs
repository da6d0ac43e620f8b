//! The JSON shapes of OpenAI's chat completions, written and never read.
//!
//! Clients validate strictly what they get: a field that is here is one that some client
//! breaks without.

use engine_api::{CandidateToken, FinishReason, TokenLogprob, Usage};
use serde::Serialize;

/// Names of one answer, the same in every chunk.
#[derive(Clone, Debug)]
pub struct Head {
    /// `chatcmpl-` and the request's id.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// The model as the client named it.
    pub model: String,
    /// Whether the client wants to read its service tier.
    pub service_tier: bool,
}

/// `usage`.
#[derive(Serialize)]
pub struct UsageShape {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u32,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u32,
}

impl From<Usage> for UsageShape {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionDetails { reasoning_tokens: 0 },
        }
    }
}

/// `logprobs` of a choice or of a chunk.
#[derive(Serialize, Default, Debug, PartialEq)]
pub struct LogprobsShape {
    /// One for each token.
    pub content: Vec<PositionShape>,
    refusal: Option<&'static str>,
}

/// One token with its alternatives.
#[derive(Serialize, Debug, PartialEq)]
pub struct PositionShape {
    #[serde(flatten)]
    drawn: CandidateShape,
    top_logprobs: Vec<CandidateShape>,
}

#[derive(Serialize, Debug, PartialEq)]
struct CandidateShape {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl From<CandidateToken> for CandidateShape {
    fn from(candidate: CandidateToken) -> Self {
        // JSON has no infinity; -9999 is what OpenAI's API says instead
        let logprob = if candidate.logprob > -9999.0 { candidate.logprob } else { -9999.0 };
        let token = match String::from_utf8(candidate.bytes.clone()) {
            Ok(text) => text,
            // part of a character: OpenAI's API shows its bytes
            Err(_) => candidate
                .bytes
                .iter()
                .fold("bytes:".to_owned(), |shown, byte| shown + &format!("\\x{byte:02x}")),
        };
        Self { token, logprob, bytes: candidate.bytes }
    }
}

impl From<TokenLogprob> for PositionShape {
    fn from(position: TokenLogprob) -> Self {
        let top_logprobs = position.top.into_iter().map(CandidateShape::from).collect();
        Self { drawn: position.drawn.into(), top_logprobs }
    }
}

impl From<TokenLogprob> for LogprobsShape {
    fn from(position: TokenLogprob) -> Self {
        Self { content: vec![position.into()], refusal: None }
    }
}

/// `finish_reason`.
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

#[cfg(test)]
mod tests {
    use engine_api::TokenId;

    use super::*;

    #[test]
    fn logprobs_are_json_whatever_the_model_says() {
        let candidate = |bytes: &[u8], logprob| CandidateToken {
            id: TokenId(1),
            bytes: bytes.to_vec(),
            logprob,
        };
        let position = TokenLogprob {
            drawn: candidate(b"\xf0\x9f", -0.5),
            top: vec![candidate(b"a", f32::NEG_INFINITY), candidate(b"", f32::NAN)],
        };
        let shown = serde_json::to_string(&LogprobsShape::from(position)).expect("is JSON");
        expect_test::expect![[r#"{"content":[{"token":"bytes:\\xf0\\x9f","logprob":-0.5,"bytes":[240,159],"top_logprobs":[{"token":"a","logprob":-9999.0,"bytes":[97]},{"token":"","logprob":-9999.0,"bytes":[]}]}],"refusal":null}"#]].assert_eq(&shown);
    }
}
