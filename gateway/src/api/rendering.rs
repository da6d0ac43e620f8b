//! How an answer is written.

use super::fields::{Fields, Invalid};

/// How the answer is written, which changes nothing of what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rendering {
    /// Server-sent events instead of one JSON object.
    pub stream: bool,
    /// A last chunk with the usage.
    pub include_usage: bool,
    /// The usage so far in every chunk.
    pub continuous_usage: bool,
    /// The client named a service tier and wants to read which it got.
    pub service_tier: bool,
    /// Calls are written as `function_call`, the older form.
    pub legacy_calls: bool,
    /// The client named the tool to be called: OpenAI's API then finishes with `stop`.
    pub named_call: bool,
}

impl Rendering {
    /// Reads it out of a body of OpenAI's chat or completions.
    pub fn read(fields: &Fields<'_>) -> Result<Self, Invalid> {
        let mut rendering = Rendering {
            stream: fields.flag("stream")?,
            // a field of its own in one server's API, an option of the stream in another's
            continuous_usage: fields.flag("continuous_usage_stats")?,
            service_tier: fields.text("service_tier")?.is_some(),
            ..Rendering::default()
        };
        if let Some(value) = fields.get("stream_options") {
            let known = ["include_usage", "continuous_usage_stats", "include_obfuscation"];
            let options = Fields::new("stream_options".into(), value, &known)?;
            rendering.include_usage = options.flag("include_usage")?;
            rendering.continuous_usage |= options.flag("continuous_usage_stats")?;
        }
        Ok(rendering)
    }
}
