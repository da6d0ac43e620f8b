//! What the text of a choice turns out to be.

use aws_lc_rs::digest;
use engine_api::{OutputEvent, Reading, RequestId};
use engine_chat::{OutputParser, ParserLimits, ParserOptions, Tools};

/// Letters of a call's id after its prefix: 142 bits.
const ID_LETTERS: usize = 24;
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Reads one choice of an answer.
pub(crate) enum Reader {
    /// All of it is content.
    Content,
    /// It may hold reasoning and calls.
    Parser(Box<OutputParser>),
    /// It has ended.
    Ended,
}

impl Reader {
    /// A reader of a choice of a request.
    pub(crate) fn of(reading: &Reading, request: &RequestId, choice: u8) -> Self {
        if reading.is_all_content() {
            return Self::Content;
        }
        let mut limits = ParserLimits::default();
        if reading.is_single {
            limits.calls_max = 1;
        }
        let options = ParserOptions {
            calls: reading.calls,
            reasoning: reading.reasoning,
            begins_in_reasoning: reading.begins_in_reasoning,
            tools: Tools::of(&reading.tools),
            delivery: reading.delivery,
            limits,
        };
        let request = request.clone();
        let call_id = move |index| call_id(&request, choice, index);
        Self::Parser(Box::new(OutputParser::new(options, call_id)))
    }

    /// Reads more text.
    pub(crate) fn push(&mut self, text: &str) -> Vec<OutputEvent> {
        match self {
            _ if text.is_empty() => Vec::new(),
            Self::Content => vec![OutputEvent::Content(text.to_owned())],
            Self::Parser(parser) => parser.push(text),
            Self::Ended => Vec::new(),
        }
    }

    /// There is no more text.
    pub(crate) fn finish(&mut self) -> Vec<OutputEvent> {
        match std::mem::replace(self, Self::Ended) {
            Self::Parser(parser) => parser.finish(),
            Self::Content | Self::Ended => Vec::new(),
        }
    }
}

/// The same for a request that is replayed, and different for any two calls.
fn call_id(request: &RequestId, choice: u8, index: usize) -> String {
    let of = format!("{}\n{choice}\n{index}", request.as_str());
    let digest = digest::digest(&digest::SHA256, of.as_bytes());
    let letters = digest.as_ref().iter().take(ID_LETTERS);
    let letters = letters.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
    "call_".chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use engine_api::{CallFormat, Delivery};
    use serde_json::json;

    use super::*;

    fn reading() -> Reading {
        let tools = [json!({ "function": { "name": "f" } })];
        let (calls, delivery) = (Some(CallFormat::OwnJson), Delivery::AsTheyCome);
        Reading { calls, delivery, tools: tools.into(), ..Reading::default() }
    }

    #[test]
    fn calls_have_ids_that_come_again_only_in_a_replay() {
        let ids: HashSet<String> = ["a", "b"]
            .iter()
            .flat_map(|request| (0..3).map(move |choice| (RequestId::new(*request), choice)))
            .flat_map(|(request, choice)| (0..5).map(move |index| call_id(&request, choice, index)))
            .collect();
        assert_eq!(ids.len(), 30);
        let id = call_id(&RequestId::new("a"), 0, 0);
        assert!(id.len() == 29 && ids.contains(&id));
        assert!(id["call_".len()..].chars().all(|letter| letter.is_ascii_alphanumeric()));
    }

    #[test]
    fn text_is_read_in_any_pieces_and_ends_once() {
        let text = r#"{"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}"#;
        let mut reader = Reader::of(&reading(), &RequestId::new("r"), 0);
        let mut reply = engine_chat::Reply::default();
        for letter in text.chars() {
            reader.push(&letter.to_string()).into_iter().for_each(|event| reply.add(event));
        }
        reader.finish().into_iter().for_each(|event| reply.add(event));
        assert_eq!(reply.calls[0].call.function.arguments, r#"{"a": 1}"#);
        assert_eq!(reply.calls[0].call.id, call_id(&RequestId::new("r"), 0, 0));
        assert!(reader.push("more").is_empty() && reader.finish().is_empty());
    }

    #[test]
    fn without_calls_and_reasoning_all_is_content() {
        let mut reader = Reader::of(&Reading::default(), &RequestId::new("r"), 0);
        let text = "\n <think>\n{\"tool_calls\": [] ";
        assert_eq!(reader.push(text), [OutputEvent::Content(text.to_owned())]);
        assert!(reader.push("").is_empty() && reader.finish().is_empty());
    }
}
