//! Grammars: their exact text, whether llguidance takes it, and what it lets through.
#![allow(clippy::unwrap_used)]

mod schemas;
mod wander;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use engine_api::{CallFormat, Demand, ReasoningFormat, ResponseFormat, ToolChoice};
use engine_chat::{Assignment, GrammarError, Plan, plan, write_calls};
use expect_test::expect_file;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokRxInfo, TokTrie, TokenId};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

/// Texts that are control tokens in some of the tests.
const CONTROL: [&str; 18] = [
    "<|eos|>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "<|channel|>",
    "<|constrain|>",
    "<|message|>",
    "<|start|>",
    "<|end|>",
    "<|call|>",
    "<think>",
    "</think>",
];
/// The id of the first of them; below are the bytes.
const FIRST: u32 = 256;

fn control_id(text: &str) -> Option<u32> {
    let index = CONTROL.iter().position(|control| *control == text)?;
    Some(FIRST + u32::try_from(index).unwrap())
}

fn no_control(_: &str) -> Option<u32> {
    None
}

static FACTORY: LazyLock<ParserFactory> = LazyLock::new(|| {
    let mut words: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    words.extend(CONTROL.iter().map(|text| {
        // llguidance's sign of a control token
        let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
        word.extend(text.as_bytes());
        word
    }));
    let size = u32::try_from(words.len()).unwrap();
    let trie = TokTrie::from(&TokRxInfo::new(size, FIRST), &words);
    let mut factory =
        ParserFactory::new_simple(&(Arc::new(ApproximateTokEnv::new(trie)) as _)).unwrap();
    factory.quiet();
    factory
});

fn matcher(grammar: &str) -> Result<Matcher, String> {
    let matcher = Matcher::new(FACTORY.create_parser(TopLevelGrammar::from_lark(grammar.into())));
    match matcher.get_error() {
        Some(error) => Err(error),
        None => Ok(matcher),
    }
}

/// The text as tokens, with control tokens where `has_control`.
fn tokens(text: &str, has_control: bool) -> Vec<TokenId> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let control = CONTROL.iter().find(|control| has_control && rest.starts_with(**control));
        match control {
            Some(control) => {
                out.push(control_id(control).unwrap());
                rest = &rest[control.len()..];
            }
            None => {
                let length = letter.len_utf8();
                out.extend(rest.as_bytes()[..length].iter().map(|byte| TokenId::from(*byte)));
                rest = &rest[length..];
            }
        }
    }
    out
}

/// Whether a grammar takes the whole text, and may end there.
fn takes(grammar: &str, text: &str, has_control: bool) -> bool {
    let mut matcher = matcher(grammar).unwrap();
    let tokens = tokens(text, has_control);
    let taken = matcher.try_consume_tokens(&tokens).unwrap();
    taken == tokens.len() && matcher.is_accepting().unwrap()
}

fn weather_tools() -> Vec<Value> {
    let parameters = json!({
        "type": "object",
        "properties": { "place": { "type": "string" }, "days": { "type": "integer", "minimum": 1 } },
        "required": ["place"],
        "additionalProperties": false,
    });
    vec![
        json!({ "type": "function", "function": { "name": "get_weather", "parameters": parameters } }),
        json!({ "type": "function", "function": { "name": "now" } }),
    ]
}

struct Case {
    calls: CallFormat,
    choice: ToolChoice,
    is_parallel: bool,
    response: ResponseFormat,
    reasoning: ReasoningFormat,
    begins_in_reasoning: bool,
    has_control: bool,
    tools: Vec<Value>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            calls: CallFormat::Hermes,
            choice: ToolChoice::Auto,
            is_parallel: true,
            response: ResponseFormat::Text,
            reasoning: ReasoningFormat::None,
            begins_in_reasoning: false,
            has_control: false,
            tools: weather_tools(),
        }
    }
}

impl Case {
    fn plan(&self) -> Result<Plan, GrammarError> {
        let demand = Demand {
            choice: self.choice.clone(),
            is_parallel: self.is_parallel,
            response: self.response.clone(),
            ..Demand::default()
        };
        plan(&Assignment {
            tools: &self.tools,
            demand: &demand,
            calls: self.calls,
            reasoning: self.reasoning,
            begins_in_reasoning: self.begins_in_reasoning,
            control_id: if self.has_control { &control_id } else { &no_control },
        })
    }

    fn grammar(&self) -> String {
        self.plan().unwrap().grammar.unwrap()
    }
}

fn person() -> ResponseFormat {
    ResponseFormat::JsonSchema(json!({
        "type": "object",
        "properties": { "name": { "type": "string" } },
        "required": ["name"],
        "additionalProperties": false,
    }))
}

fn cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for calls in CallFormat::ALL {
        for (name, choice) in [("auto", ToolChoice::Auto), ("required", ToolChoice::Required)] {
            for has_control in [false, true] {
                let title =
                    format!("{calls}, {name}{}", if has_control { ", control" } else { "" });
                cases.push((
                    title,
                    Case { calls, choice: choice.clone(), has_control, ..Case::default() },
                ));
            }
        }
    }
    let named = ToolChoice::Named("now".into());
    let allowed = ToolChoice::Allowed { is_required: false, names: vec!["now".into()] };
    let think = ReasoningFormat::Think;
    let mut more = |title: &str, case: Case| cases.push((title.to_owned(), case));
    more("none", Case { choice: ToolChoice::None, ..Case::default() });
    more("named", Case { choice: named, ..Case::default() });
    more("allowed", Case { choice: allowed, ..Case::default() });
    more(
        "one at a time",
        Case { choice: ToolChoice::Required, is_parallel: false, ..Case::default() },
    );
    more("tools or JSON", Case { response: person(), ..Case::default() });
    more("no tools, text", Case { tools: vec![], ..Case::default() });
    more(
        "any JSON",
        Case { tools: vec![], response: ResponseFormat::JsonObject, ..Case::default() },
    );
    more(
        "JSON after reasoning",
        Case { tools: vec![], response: person(), reasoning: think, ..Case::default() },
    );
    more(
        "JSON after reasoning that the prompt began",
        Case {
            tools: vec![],
            response: person(),
            reasoning: think,
            begins_in_reasoning: true,
            has_control: true,
            ..Case::default()
        },
    );
    more(
        "JSON in a channel",
        Case {
            tools: vec![],
            response: person(),
            calls: CallFormat::Harmony,
            has_control: true,
            ..Case::default()
        },
    );
    cases.extend(other_forms());
    cases
}

fn other_forms() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    let mut more = |title: &str, case: Case| cases.push((title.to_owned(), case));
    let regex = |text: &str| ResponseFormat::Regex(text.into());
    let plain = |response| Case { tools: vec![], response, ..Case::default() };
    more("a regular expression", plain(regex(r"^\d+/[a-z/]+\$|\\$")));
    more("one of some", plain(ResponseFormat::Choice(vec!["yes".into(), "\"no\"\n".into()])));
    let grammar = "start: word (\" \" word)*\nword: /[a-z]{1,4}/";
    more("a grammar", plain(ResponseFormat::Grammar(grammar.into())));
    more(
        "a grammar after reasoning, or tools",
        Case {
            response: ResponseFormat::Grammar(grammar.into()),
            reasoning: ReasoningFormat::Think,
            has_control: true,
            ..Case::default()
        },
    );
    cases
}

#[test]
fn grammars_have_the_expected_text_and_compile() {
    let mut all = String::new();
    for (title, case) in cases() {
        let plan = case.plan().unwrap();
        let calls = plan.calls.map_or("none", CallFormat::name);
        writeln!(all, "%% {title}: {calls}, {:?}, tools {:?}", plan.delivery, plan.offered)
            .unwrap();
        match &plan.grammar {
            Some(grammar) => {
                writeln!(all, "{grammar}").unwrap();
                if let Err(error) = matcher(grammar) {
                    panic!("{title}: {error}\n{grammar}");
                }
            }
            None => writeln!(all, "anything\n").unwrap(),
        }
    }
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grammar/grammars.expected"));
    expect_file![path].assert_eq(&all);
}

#[test]
fn grammars_take_what_models_write() {
    let with = |calls, choice, has_control| Case { calls, choice, has_control, ..Case::default() };
    let weather = r#"{"place": "Köln", "days": 2}"#;
    let hermes = format!(
        "<tool_call>\n{{\"name\": \"get_weather\", \"arguments\": {weather}}}\n</tool_call>"
    );
    let now = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    for has_control in [false, true] {
        let free = with(CallFormat::Hermes, ToolChoice::Auto, has_control).grammar();
        let forced = with(CallFormat::Hermes, ToolChoice::Required, has_control).grammar();
        let check = |text: &str, by_free: bool, by_forced: bool| {
            assert_eq!(takes(&free, text, has_control), by_free, "{text}\n{free}");
            assert_eq!(takes(&forced, text, has_control), by_forced, "{text}\n{forced}");
        };
        check("", true, false);
        check("Hello <b>!\n\n{}", true, false);
        check(&hermes, true, true);
        check(&format!("Let me see.\n{hermes}"), true, false);
        check(&format!("{hermes}\n{now}"), true, true);
        check(&format!("x {now}\n{now}\n{hermes}"), true, false);
        check(&hermes.replace("days\": 2", "days\": 0"), false, false);
        check(&hermes.replace("place", "plaice"), false, false);
        check(&hermes.replace("get_weather", "rm"), false, false);
        check("I write <tool_call> for fun", false, false);
        let single = Case {
            is_parallel: false,
            ..with(CallFormat::Hermes, ToolChoice::Required, has_control)
        };
        assert!(!takes(&single.grammar(), &format!("{hermes}\n{now}"), has_control));
    }
}

#[test]
fn grammars_know_where_calls_begin() {
    let with = |calls, choice, has_control| Case { calls, choice, has_control, ..Case::default() };
    let weather = r#"{"place": "Köln", "days": 2}"#;
    let now = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    // who names a tool wants it once
    let named = with(CallFormat::Hermes, ToolChoice::Named("now".into()), false).grammar();
    assert!(takes(&named, now, false) && !takes(&named, &format!("{now}\n{now}"), false));
    let llama = with(CallFormat::Llama3Json, ToolChoice::Auto, false).grammar();
    assert!(takes(
        &llama,
        &format!("{{\"name\": \"get_weather\", \"parameters\": {weather}}}"),
        false
    ));
    assert!(takes(&llama, "{\"answer\": 1}", false));
    assert!(takes(&llama, "Hi {\"name\": 1}", false));
    assert!(!takes(&llama, "{\"name\": \"rm\", \"parameters\": {}}", false));
    assert!(!takes(&llama, " {\"name\": \"now\", \"parameters\": {\"x\": 1}}", false));
    let qwen = with(CallFormat::Qwen, ToolChoice::Auto, false).grammar();
    let xml = |days: &str| {
        format!(
            "Yes.\n\n<tool_call>\n<function=get_weather>\n<parameter=place>\nKöln\n</parameter>\n{days}\
             </function>\n</tool_call>"
        )
    };
    assert!(takes(&qwen, &xml(""), false));
    assert!(takes(&qwen, &xml("<parameter=days>\n2\n</parameter>\n"), false));
    assert!(!takes(&qwen, &xml("<parameter=days>\n0\n</parameter>\n"), false));
    let json = Case { response: person(), ..Case::default() }.grammar();
    assert!(takes(&json, "{\"name\": \"Anna\"}", false) && takes(&json, now, false));
    assert!(!takes(&json, "Anna", false) && !takes(&json, "{\"name\":  \"Anna\"}", false));
    let reasoned =
        Case { reasoning: ReasoningFormat::Think, choice: ToolChoice::Required, ..Case::default() };
    assert!(takes(&reasoned.grammar(), &format!("<think>\nhm </thin\n</think>\n\n{now}"), false));
    assert!(takes(&reasoned.grammar(), now, false));
    let inside = Case { begins_in_reasoning: true, ..reasoned };
    assert!(takes(&inside.grammar(), &format!("hm\n</think>\n\n{now}"), false));
    assert!(!takes(&inside.grammar(), now, false));
    let harmony = with(CallFormat::Harmony, ToolChoice::Auto, true).grammar();
    let call = "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>";
    let analysis = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant";
    assert!(takes(&harmony, &format!("{analysis}{call}"), true));
    assert!(takes(&harmony, &format!("{analysis}<|channel|>final<|message|>Hello"), true));
    assert!(takes(
        &harmony,
        &format!("<|channel|>commentary<|message|>I look.<|end|><|start|>assistant{call}"),
        true
    ));
    assert!(!takes(&harmony, &call.replace("now", "rm"), true));
}

#[test]
fn answers_may_be_of_other_forms() {
    let of = |response| Case { tools: vec![], response, ..Case::default() }.grammar();
    let regex = of(ResponseFormat::Regex(r"^a/b|[/x]\$\\$".into()));
    for (text, is_taken) in
        [("a/b", true), ("x$\\", true), ("/$\\", true), ("a/", false), ("x", false)]
    {
        assert_eq!(takes(&regex, text, false), is_taken, "{text}\n{regex}");
    }
    // what stands in an expression stays in it
    let broken_out = of(ResponseFormat::Regex("a/\nstart: /b\\\n".into()));
    assert!(takes(&broken_out, "a/\nstart: /b\n", false) && !takes(&broken_out, "b", false));
    let choice = of(ResponseFormat::Choice(vec!["yes".into(), "\"no\"\n".into()]));
    assert!(takes(&choice, "\"no\"\n", false) && !takes(&choice, "maybe", false));
    let lark = ResponseFormat::Grammar("start: w \"{\" w\nw: /[a-z]+/".into());
    assert!(takes(&of(lark.clone()), "ab{c", false) && !takes(&of(lark.clone()), "ab", false));
    let after = Case {
        tools: vec![],
        response: lark,
        reasoning: ReasoningFormat::Think,
        ..Case::default()
    };
    assert!(takes(&after.grammar(), "<think>hm</think>\n\na{b", false));
    let refused = |response| {
        let error = Case { tools: vec![], response, ..Case::default() }.plan().unwrap_err();
        format!("{} {error}", error.param())
    };
    for bad in ["", "(?=a)", r"(a)\1", "a\\", "^$"] {
        let said = refused(ResponseFormat::Regex(bad.into()));
        assert!(said.starts_with("response_format the regular expression"), "{bad}: {said}");
    }
    assert!(refused(ResponseFormat::Choice(vec![])).contains("1 to 1024"));
    assert!(refused(ResponseFormat::Choice(vec![String::new()])).contains("none of them empty"));
    assert!(refused(ResponseFormat::Grammar(" \n".into())).contains("is empty"));
}

#[test]
fn tools_that_are_not_strict_may_have_more_than_can_be_enforced() {
    let tool = |strict: Value| {
        let items = json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true });
        let parameters = json!({ "type": "object", "properties": { "words": items } });
        json!({ "function": { "name": "f", "parameters": parameters, "strict": strict } })
    };
    let plan = |strict| Case { tools: vec![tool(strict)], ..Case::default() }.plan();
    assert!(plan(json!(false)).is_ok() && plan(Value::Null).is_ok());
    let error = plan(json!(true)).unwrap_err();
    assert!(error.to_string().contains("`uniqueItems` cannot be enforced"), "{error}");
    assert_eq!(error.param(), "tools");
}

#[test]
fn calls_are_written_as_they_are_forced() {
    let function = engine_api::FunctionCall {
        name: "get_weather".into(),
        arguments: r#"{"place": "Köln", "days": 2}"#.into(),
    };
    let call = engine_api::ToolCall { id: "1".into(), function };
    for calls in CallFormat::ALL.into_iter().filter(|calls| *calls != CallFormat::Harmony) {
        for has_control in [false, true] {
            let id = if has_control { control_id } else { no_control };
            let text =
                write_calls(calls, &[call.clone(), call.clone()], &|text| id(text).is_some());
            let case = Case { calls, choice: ToolChoice::Required, has_control, ..Case::default() };
            // Qwen's arguments are forced in its own way where they can be, and read in both
            if calls != CallFormat::Qwen {
                assert!(takes(&case.grammar(), &text, has_control), "{calls}: {text}");
            }
            let options = engine_chat::ParserOptions {
                calls: case.plan().unwrap().calls,
                tools: engine_chat::Tools::of(&case.tools),
                ..Default::default()
            };
            let reply =
                engine_chat::OutputParser::new(options, |index| index.to_string()).read(&text);
            assert_eq!((reply.calls.len(), reply.content.as_str()), (2, ""), "{calls}: {text}");
        }
    }
}
