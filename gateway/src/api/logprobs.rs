//! Log-probabilities as OpenAI's newer endpoints write them.

use engine_api::{CandidateToken, TokenLogprob};
use serde::Serialize;

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
        let (token, logprob) = (shown(&candidate.bytes), finite(candidate.logprob));
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

/// The text of a token; of one that is only part of a character, its bytes, as OpenAI's API has
/// it.
pub fn shown(token: &[u8]) -> String {
    let bytes = || token.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    std::str::from_utf8(token).map_or_else(|_| format!("bytes:{}", bytes()), str::to_owned)
}

/// JSON has no infinity; -9999 is what OpenAI's API says instead.
pub fn finite(logprob: f32) -> f32 {
    if logprob > -9999.0 { logprob } else { -9999.0 }
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
