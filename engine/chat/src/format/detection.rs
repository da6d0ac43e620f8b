//! Which format a chat template asks for.

use engine_api::{CallFormat, ReasoningFormat};

use super::reasoning_tags;
use crate::template;

/// What a template's text says of its model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detected {
    /// How the model writes calls. [`CallFormat::OwnJson`] where the template knows no way.
    pub calls: CallFormat,
    /// How it marks reasoning.
    pub reasoning: ReasoningFormat,
    /// The template describes the tools to the model. Otherwise a system turn has to (see
    /// [`super::describe_tools`]).
    pub renders_tools: bool,
    /// The template writes calls of earlier turns and their results. Otherwise they have to be
    /// told as text (see [`super::told_calls`]).
    pub renders_calls: bool,
}

/// Texts of which each is in the templates of one format and in no other's that comes later
/// in this list.
const SIGNS: [(&[&str], CallFormat); 11] = [
    (&["<|channel|>", "<|message|>"], CallFormat::Harmony),
    (&["<｜tool▁call▁begin｜>"], CallFormat::DeepSeek),
    (&["<｜tool▁calls▁begin｜>"], CallFormat::DeepSeek),
    (&["[TOOL_CALLS]"], CallFormat::Mistral),
    (&["<tool_call>", "<function="], CallFormat::Qwen),
    (&["<tool_call>", "{\"name\": "], CallFormat::Hermes),
    (&["<|python_start|>"], CallFormat::Pythonic),
    (&["func_name1(params_name1="], CallFormat::Pythonic),
    (&["<|python_tag|>"], CallFormat::Llama3Json),
    (&["<|start_header_id|>", "\"parameters\""], CallFormat::Llama3Json),
    (&["<start_of_turn>"], CallFormat::Gemma),
];

/// Reads the source of a chat template. A configuration may know better.
pub fn detect(template: &str) -> Detected {
    // quotes are escaped in some
    let plain = template.replace('\\', "");
    let has_all = |texts: &[&str]| texts.iter().all(|text| plain.contains(text));
    let found = SIGNS.iter().find(|(texts, _)| has_all(texts));
    let calls = found.map_or(CallFormat::OwnJson, |(_, format)| *format);
    let reasoning = match () {
        () if calls == CallFormat::Harmony => ReasoningFormat::None,
        () if template.contains("[THINK]") => ReasoningFormat::Mistral,
        () if template.contains("</think>") => ReasoningFormat::Think,
        () => ReasoningFormat::None,
    };
    let renders_calls = template.contains("tool_calls");
    Detected { calls, reasoning, renders_tools: template::reads(template, "tools"), renders_calls }
}

/// Whether a rendered prompt ends with the tag that begins the reasoning, as DeepSeek R1's and
/// QwQ's do. The answer then begins inside.
pub fn begins_in_reasoning(prompt: &str, reasoning: ReasoningFormat) -> bool {
    reasoning_tags(reasoning).is_some_and(|[begin, _]| prompt.trim_end().ends_with(begin))
}
