//! What the parsers make of answers as models give them: `formats/*.samples` holds answers,
//! `formats/*.expected` the events, which `UPDATE_EXPECT=1` writes.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use engine_api::{CallFormat, Delivery, OutputEvent, ReasoningFormat};
use engine_chat::{
    OutputParser, ParserLimits, ParserOptions, Reply, Tools, control_texts, describe_tools,
};
use expect_test::expect_file;
use proptest::prelude::*;
use serde_json::{Value, json};

fn tools() -> Tools {
    let tool = |name: &str, properties: Value| {
        let parameters = json!({ "type": "object", "properties": properties });
        json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
    };
    let text = json!({ "type": "string" });
    Tools::of(&[
        tool("get_weather", json!({ "place": text, "days": { "type": "integer" } })),
        tool("now", json!({})),
        tool("write_file", json!({ "path": text, "text": text })),
        tool("ns.lookup-1", json!({ "key": text })),
        tool(
            "search",
            json!({
                "query": text,
                "filters": { "type": "object" },
                "tags": { "anyOf": [{ "type": "array" }, { "type": "null" }] },
                "limit": { "type": ["integer", "null"] },
                "exact": { "type": "boolean" },
                "note": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
                "level": { "type": ["number", "string"] },
            }),
        ),
    ])
}

struct Sample {
    title: String,
    text: String,
    options: ParserOptions,
}

fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats")).to_owned()
}

/// `%% title | options`, and the answer up to the next.
fn samples(format: CallFormat) -> Vec<Sample> {
    let file = std::fs::read_to_string(folder().join(format!("{format}.samples"))).unwrap();
    let parts = file.strip_prefix("%% ").unwrap().split("\n%% ");
    let sample = |part: &str| {
        let (head, text) = part.split_once('\n').unwrap();
        let (title, words) = head.split_once(" | ").unwrap_or((head, ""));
        let mut options =
            ParserOptions { calls: Some(format), tools: tools(), ..ParserOptions::default() };
        for word in words.split_whitespace() {
            match word.split_once('=') {
                None if word == "inside" => options.begins_in_reasoning = true,
                None if word == "no-tools" => options.tools = Tools::default(),
                Some(("reasoning", name)) => options.reasoning = name.parse().unwrap(),
                _ => panic!("unknown option {word}"),
            }
        }
        let text = text.strip_suffix('\n').unwrap_or(text).to_owned();
        Sample { title: title.to_owned(), text, options }
    };
    parts.map(sample).collect()
}

fn parser(options: &ParserOptions, delivery: Delivery) -> OutputParser {
    OutputParser::new(ParserOptions { delivery, ..options.clone() }, |index| format!("id{index}"))
}

/// Puts neighbours of one kind together.
fn joined(events: impl IntoIterator<Item = OutputEvent>) -> Vec<OutputEvent> {
    let mut out: Vec<OutputEvent> = Vec::new();
    for event in events {
        match (out.last_mut(), &event) {
            (Some(OutputEvent::Content(last)), OutputEvent::Content(text))
            | (Some(OutputEvent::Reasoning(last)), OutputEvent::Reasoning(text)) => {
                last.push_str(text);
            }
            (
                Some(OutputEvent::Arguments { index, text: last }),
                OutputEvent::Arguments { index: other, text },
            ) => {
                assert_eq!(*index, *other);
                last.push_str(text);
            }
            _ => out.push(event),
        }
    }
    out
}

fn events<'a>(
    options: &ParserOptions,
    delivery: Delivery,
    pieces: impl IntoIterator<Item = &'a str>,
) -> Vec<OutputEvent> {
    let mut parser = parser(options, delivery);
    let mut all = Vec::new();
    for piece in pieces {
        let events = parser.push(piece);
        assert_eq!(events, joined(events.clone()), "neighbours in one answer are one");
        all.extend(events);
    }
    all.extend(parser.finish());
    joined(all)
}

fn written(events: &[OutputEvent]) -> String {
    let mut out = String::new();
    for event in events {
        match event {
            OutputEvent::Content(text) => writeln!(out, "content   {text:?}"),
            OutputEvent::Reasoning(text) => writeln!(out, "reasoning {text:?}"),
            OutputEvent::CallStarted { index, id, name } => {
                writeln!(out, "call {index}    {name} ({id})")
            }
            OutputEvent::Arguments { index, text } => writeln!(out, "call {index}    {text}"),
            OutputEvent::CallFinished { index } => writeln!(out, "call {index}    finished"),
            OutputEvent::CallAbandoned { index } => writeln!(out, "call {index}    abandoned"),
        }
        .unwrap();
    }
    out
}

/// What holds of all events.
fn assert_sound(events: &[OutputEvent]) {
    let mut reply = Reply::default();
    events.iter().for_each(|event| reply.add(event.clone()));
    for call in reply.calls.iter().filter(|call| call.is_whole) {
        let arguments: Result<serde_json::Map<String, Value>, _> =
            serde_json::from_str(&call.call.function.arguments);
        assert!(arguments.is_ok(), "{call:?}: {arguments:?}");
        assert!(tools().has(&call.call.function.name));
    }
    let mut open = None;
    let mut next = 0;
    for event in events {
        match event {
            OutputEvent::CallStarted { index, .. } => {
                assert_eq!((open, *index), (None, next));
                open = Some(*index);
                next += 1;
            }
            OutputEvent::Arguments { index, .. } => assert_eq!(open, Some(*index)),
            OutputEvent::CallFinished { index } | OutputEvent::CallAbandoned { index } => {
                assert_eq!(open.take(), Some(*index));
            }
            OutputEvent::Content(text) | OutputEvent::Reasoning(text) => {
                assert!(!text.is_empty() && open.is_none());
            }
        }
    }
    assert_eq!(open, None);
}

#[test]
fn samples_give_the_expected_events() {
    for format in CallFormat::ALL {
        let mut all = String::new();
        for sample in samples(format) {
            let whole = events(&sample.options, Delivery::Whole, [sample.text.as_str()]);
            let streamed = events(&sample.options, Delivery::AsTheyCome, [sample.text.as_str()]);
            writeln!(all, "%% {}\n{}", sample.title, written(&whole)).unwrap();
            if whole != streamed {
                writeln!(all, "as they come:\n{}", written(&streamed)).unwrap();
            }
            let mut reply = Reply::default();
            whole.iter().for_each(|event| reply.add(event.clone()));
            assert_eq!(parser(&sample.options, Delivery::Whole).read(&sample.text), reply);
        }
        expect_file![folder().join(format!("{format}.expected"))].assert_eq(&all);
    }
}

/// A small generator, so that every run tries the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn random_pieces<'a>(text: &'a str, dice: &mut Dice) -> Vec<&'a str> {
    let mut places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
    let density = 1 + dice.below(12);
    places.retain(|_| dice.below(density) == 0);
    places.push(text.len());
    let mut begin = 0;
    places.into_iter().map(|end| &text[std::mem::replace(&mut begin, end)..end]).collect()
}

fn check_every_cut(options: &ParserOptions, text: &str, dice: &mut Dice, random: usize) {
    for delivery in [Delivery::Whole, Delivery::AsTheyCome] {
        let expected = events(options, delivery, [text]);
        assert_sound(&expected);
        let cuts = text.char_indices().map(|(place, _)| text.split_at(place));
        for (head, tail) in cuts {
            assert_eq!(events(options, delivery, [head, tail]), expected, "{head:?}, {tail:?}");
        }
        let letters = text.char_indices().map(|(at, letter)| &text[at..at + letter.len_utf8()]);
        assert_eq!(events(options, delivery, letters), expected);
        for _ in 0..random {
            let pieces = random_pieces(text, dice);
            assert_eq!(events(options, delivery, pieces.clone()), expected, "{pieces:?}");
        }
    }
}

#[test]
fn pieces_do_not_matter() {
    let mut dice = Dice(7);
    for format in CallFormat::ALL {
        for sample in samples(format) {
            check_every_cut(&sample.options, &sample.text, &mut dice, 200);
        }
    }
}

/// The models change, and operators choose wrong formats: an answer in another format is
/// content, or a call that is whole.
#[test]
fn every_format_reads_every_sample() {
    let mut dice = Dice(11);
    for format in CallFormat::ALL {
        for sample in samples(format) {
            for other in CallFormat::ALL {
                let options = ParserOptions { calls: Some(other), ..sample.options.clone() };
                check_every_cut(&options, &sample.text, &mut dice, 3);
            }
        }
    }
}

#[test]
fn nothing_is_said_early_of_what_may_become_a_marker() {
    for format in CallFormat::ALL {
        for marker in control_texts(Some(format), ReasoningFormat::None) {
            let options =
                ParserOptions { calls: Some(format), tools: tools(), ..ParserOptions::default() };
            for (end, _) in marker.char_indices().skip(1) {
                let mut parser = parser(&options, Delivery::AsTheyCome);
                let first = parser.push("x");
                assert_eq!(first, [OutputEvent::Content("x".into())], "{format}");
                // what only closes a call means nothing before one
                let said = parser.push(&marker[..end]);
                let rest = joined(said.iter().cloned().chain(parser.finish()));
                assert_eq!(rest, [OutputEvent::Content(marker[..end].into())], "{format} {marker}");
                if !marker.starts_with("</") && !marker.contains("end") && marker.len() > 3 {
                    assert_eq!(said, [], "{format}: {:?}", &marker[..end]);
                }
            }
        }
    }
}

#[test]
fn what_is_held_is_bounded() {
    let limits =
        ParserLimits { call_bytes_max: 1000, name_bytes_max: 20, calls_max: 3, arguments_max: 2 };
    let options =
        |calls| ParserOptions { calls: Some(calls), tools: tools(), limits, ..Default::default() };
    let long = "x".repeat(2000);
    let three: String =
        ["a", "b", "c"].map(|name| format!("<parameter={name}>1</parameter>")).concat();
    for (format, text) in [
        (CallFormat::Hermes, format!("<tool_call>{{\"name\": \"{long}")),
        (CallFormat::Hermes, format!("<tool_call>{{\"{long}")),
        (CallFormat::Hermes, format!("<tool_call>{{\"arguments\": {{\"a\": \"{long}")),
        (CallFormat::Hermes, format!("<tool_call>{{\"name\": \"now\", \"arguments\": \"{long}")),
        (CallFormat::Qwen, format!("<function={long}")),
        (CallFormat::Qwen, format!("<function=now><parameter=a>{long}")),
        (CallFormat::Mistral, format!("[TOOL_CALLS]{long}")),
        (CallFormat::Pythonic, format!("[{long}")),
        (CallFormat::Pythonic, format!("[now({long}")),
        (CallFormat::DeepSeek, format!("<｜tool▁call▁begin｜>{long}")),
        (CallFormat::DeepSeek, format!("<｜tool▁call▁begin｜>function<｜tool▁sep｜>{long}")),
        (CallFormat::Pythonic, "[now(a=1, b=2, c=3)]".to_owned()),
        (CallFormat::Qwen, "<function=now>".to_owned() + &three),
        (CallFormat::Llama3Json, format!("{{{}x", " ".repeat(2000))),
    ] {
        let mut parser = parser(&options(format), Delivery::Whole);
        let got = joined(parser.push(&text));
        assert_eq!(got, [OutputEvent::Content(text.clone())], "{format}: {text:.40}");
    }
    // deeper than any reader of JSON goes
    let deep = format!("<tool_call>{{\"name\":\"now\",\"arguments\":{}", "{\"a\":".repeat(200));
    assert_eq!(parser(&options(CallFormat::Hermes), Delivery::Whole).read(&deep).content, deep);
    let many = "<tool_call>{\"name\": \"now\"}</tool_call>".repeat(5);
    let reply = parser(&options(CallFormat::Hermes), Delivery::Whole).read(&many);
    assert_eq!((reply.calls.len(), reply.content.contains("now")), (3, true));
    // spaces that never end are content in the end
    let mut parser = parser(&options(CallFormat::Hermes), Delivery::Whole);
    assert!(!parser.push(&" ".repeat(10_000)).is_empty());
}

#[test]
fn names_are_those_of_the_configuration() {
    for format in CallFormat::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    for format in ReasoningFormat::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "qwen3".parse::<CallFormat>().unwrap_err().to_string();
    assert_eq!(
        error,
        "`qwen3` is no tool-call format; use one of hermes, qwen, llama3_json, mistral, pythonic, \
         gemma, deepseek, harmony, json"
    );
}

/// What the description shows is what the parser reads.
#[test]
fn the_description_shows_a_call() {
    let parameters =
        json!({ "type": "object", "properties": { "parameter": { "type": "string" } } });
    let tool = json!({ "function": { "name": "function", "parameters": parameters } });
    for format in CallFormat::ALL {
        let text = describe_tools(format, std::slice::from_ref(&tool));
        assert!(text.contains(r#"{"function": {"name": "function", "parameters": {"type": "#));
        let (_, rest) = text.split_once("nothing but\n").unwrap();
        let (call, _) = rest.split_once("\nwith their names").unwrap();
        let tools = Tools::of(std::slice::from_ref(&tool));
        let options = ParserOptions { calls: Some(format), tools, ..ParserOptions::default() };
        let reply = parser(&options, Delivery::Whole).read(call);
        assert_eq!((reply.calls.len(), reply.content.as_str()), (1, ""), "{format}: {call}");
        let function = &reply.calls[0].call.function;
        let arguments: Value = serde_json::from_str(&function.arguments).unwrap();
        assert_eq!(
            (function.name.as_str(), arguments),
            ("function", json!({ "parameter": "value" }))
        );
    }
}

/// Pieces of all formats, so that random texts come near to calls.
const FRAGMENTS: &str = "(<tool_call>|</tool_call>|<function=|now>|</function>|<parameter=|a>|\
     </parameter>|\\[TOOL_CALLS\\]|\\[ARGS\\]|now|\\{\"name\":|\"now\"|,\"arguments\":|\\{\\}|\\{|\\}|\
     \"tool_calls\":|\\[|\\]|now\\(|\\)|a=|1|'x'|\"|'|\\\\|u12|<|```tool_code|```json|```|\n| |;|,|:|\
     <｜tool▁call▁begin｜>|function|<｜tool▁sep｜>|<｜tool▁call▁end｜>|<\\|channel\\|>|analysis|\
     commentary to=functions\\.now|<\\|message\\|>|<\\|end\\|>|<\\|call\\|>|<\\|start\\|>|<think>|\
     </think>|<\\|python_tag\\|>|é|true|-|\\.5|x){0,24}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_texts_are_sound(text in FRAGMENTS, seed in any::<u64>(), format in 0..9usize) {
        let options = ParserOptions {
            calls: Some(CallFormat::ALL[format]),
            reasoning: ReasoningFormat::Think,
            tools: tools(),
            ..ParserOptions::default()
        };
        check_every_cut(&options, &text, &mut Dice(seed), 8);
    }

    /// Without tools and reasoning an answer is what it is.
    #[test]
    fn without_tools_nothing_changes(text in FRAGMENTS, format in 0..7usize) {
        let options = ParserOptions { calls: Some(CallFormat::ALL[format]), ..Default::default() };
        let expected = if text.is_empty() { vec![] } else { vec![OutputEvent::Content(text.clone())] };
        prop_assert_eq!(events(&options, Delivery::Whole, [text.as_str()]), expected);
    }
}
