//! How models write tool calls and reasoning.
//!
//! A model answers with text. [`OutputParser`] reads that text as it comes, in pieces of any
//! size, and says what is content, what is reasoning and what is a tool call. It works letter
//! by letter, so the pieces never matter, and streamed answers are the same as whole ones.
//! What is no call in the model's own format stays content: nothing here can fail.

mod bare_arguments;
mod call_list;
mod call_object;
mod deepseek;
mod description;
mod detection;
mod gemma;
mod harmony;
mod hermes;
mod json_scan;
mod llama;
mod marker_search;
mod mistral;
mod own_json;
mod parser;
mod python_call;
mod python_value;
mod pythonic;
mod qwen;
mod reply;
mod sink;
mod tagged;
mod telling;
mod tools;

use engine_api::{CallFormat, ReasoningFormat};

pub use description::describe_tools;
pub use detection::{Detected, begins_in_reasoning, detect};
pub use parser::{OutputParser, ParserLimits, ParserOptions};
pub use reply::{Reply, ReplyCall};
pub use telling::told_calls;
pub use tools::Tools;
pub(crate) use tools::{DEPTH_MAX as KINDS_DEPTH_MAX, Kinds};

/// Texts that the parser of these formats looks for. Where one is a control token of the model,
/// which a detokenizer leaves out, it has to be written.
pub fn control_texts(calls: Option<CallFormat>, reasoning: ReasoningFormat) -> Vec<&'static str> {
    let of_calls: Vec<&str> = match calls {
        None => Vec::new(),
        // its channels are its reasoning
        Some(CallFormat::Harmony) => return harmony::MARKERS.to_vec(),
        Some(format) => {
            tagged::Syntax::of(format).markers().filter(|text| text.len() > 3).collect()
        }
    };
    of_calls.into_iter().chain(reasoning_tags(reasoning).into_iter().flatten()).collect()
}

/// What begins and ends reasoning.
pub(crate) fn reasoning_tags(reasoning: ReasoningFormat) -> Option<[&'static str; 2]> {
    match reasoning {
        ReasoningFormat::None => None,
        ReasoningFormat::Think => Some(["<think>", "</think>"]),
        ReasoningFormat::Mistral => Some(["[THINK]", "[/THINK]"]),
    }
}
