//! One event of a streamed chat completion.

use serde::Deserialize;

/// What an event's data says.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Part of the answer.
    Delta {
        /// The text in it; empty where it has none.
        text: String,
        /// The server's own count, in the last chunk.
        usage: Option<Tokens>,
    },
    /// The request failed after its status line: the error's code, or its type.
    Failed(String),
    /// The end.
    Done,
}

/// Token counts as the server has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Tokens {
    /// Length of the prompt.
    #[serde(rename = "prompt_tokens")]
    pub prompt: u64,
    /// Length of all answers together.
    #[serde(rename = "completion_tokens")]
    pub output: u64,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Tokens>,
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
}

#[derive(Deserialize, Default)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
}

/// OpenAI's error object.
#[derive(Deserialize)]
struct ErrorBody {
    code: Option<serde_json::Value>,
    r#type: Option<String>,
}

impl ErrorBody {
    fn name(self) -> String {
        match self.code {
            Some(serde_json::Value::String(code)) => code,
            Some(serde_json::Value::Number(code)) => code.to_string(),
            _ => self.r#type.unwrap_or_else(|| "error".into()),
        }
    }
}

impl Chunk {
    /// Reads an event's data; `None` when it is neither `[DONE]` nor such a chunk.
    pub fn parse(data: &[u8]) -> Option<Self> {
        if data == b"[DONE]" {
            return Some(Self::Done);
        }
        let body: Body = serde_json::from_slice(data).ok()?;
        if let Some(error) = body.error {
            return Some(Self::Failed(error.name()));
        }
        let deltas = body.choices.into_iter().map(|choice| choice.delta);
        let texts = deltas.flat_map(|delta| [delta.content, delta.reasoning_content]);
        Some(Self::Delta { text: texts.flatten().collect(), usage: body.usage })
    }
}

/// The code of an error response's body, or its type.
pub fn error_name(body: &[u8]) -> Option<String> {
    let body: Body = serde_json::from_slice(body).ok()?;
    body.error.map(ErrorBody::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_apart() {
        let delta = |text: &str, usage| Some(Chunk::Delta { text: text.into(), usage });
        let tokens = Tokens { prompt: 3, output: 4 };
        for (data, expected) in [
            ("[DONE]", Some(Chunk::Done)),
            ("nonsense", None),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, delta("", None)),
            (r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#, delta("a", None)),
            (r#"{"choices":[{"delta":{"reasoning_content":"b"}}]}"#, delta("b", None)),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}"#, delta("", None)),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#,
                delta("", Some(tokens)),
            ),
            (r#"{"error":{"message":"m","type":"t","code":"c"}}"#, Some(Chunk::Failed("c".into()))),
            (
                r#"{"error":{"message":"m","type":"t","code":null}}"#,
                Some(Chunk::Failed("t".into())),
            ),
        ] {
            assert_eq!(Chunk::parse(data.as_bytes()), expected, "{data}");
        }
        assert_eq!(error_name(b"<html>"), None);
    }
}
