use engine_api::{Finished, Timings, Token, TokenId};
use expect_test::{Expect, expect};

use super::*;

fn events(outputs: Vec<OutputEvent>, reason: FinishReason) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, output) in (0..).zip(outputs) {
        let (id, text) = (TokenId(1), String::new());
        events.push(Event::Token(Token { choice: 0, index, id, text, logprob: None }));
        events.push(Event::Output { choice: 0, output });
    }
    events.push(Event::Finished(Finished { choice: 0, reason, text: String::new() }));
    let usage = Usage { prompt_tokens: 5, completion_tokens: 9, cached_tokens: 0 };
    events.push(Event::Usage(usage, Timings::default()));
    events
}

/// The choice and its usage, of a head that is the same for all.
fn check(rendering: Rendering, outputs: Vec<OutputEvent>, reason: FinishReason, expected: Expect) {
    let head = Head { id: "i".into(), created: 1, model: "m".into(), service_tier: false };
    let mut gathered = Gathered::new(head, rendering, Choices::ONE);
    events(outputs, reason).into_iter().for_each(|event| gathered.push(0, event));
    let json = String::from_utf8(gathered.json().expect("complete")).expect("JSON is text");
    let (_, shown) = json.split_once("\"choices\":").expect("there are choices");
    expected.assert_eq(shown);
}

fn call(index: usize, arguments: &[&str]) -> Vec<OutputEvent> {
    let (id, name) = (format!("call_{index}"), "get_weather".to_owned());
    let start = OutputEvent::CallStarted { index, id, name };
    let more = arguments.iter().map(|text| OutputEvent::Arguments { index, text: (*text).into() });
    std::iter::once(start).chain(more).collect()
}

#[test]
fn calls_have_every_field_that_clients_need() {
    let mut outputs = call(0, &["{\"place\": ", "\"K\u{f6}ln\"}"]);
    outputs.push(OutputEvent::CallFinished { index: 0 });
    outputs.extend(call(1, &["{}"]));
    outputs.push(OutputEvent::CallFinished { index: 1 });
    let stop = FinishReason::Stop;
    check(
        Rendering::default(),
        outputs.clone(),
        stop,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_0","type":"function","function":{"name":"get_weather","arguments":"{\"place\": \"Köln\"}"}},{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#
        ]],
    );
    let named = Rendering { named_call: true, ..Rendering::default() };
    check(
        named,
        outputs[..4].to_vec(),
        stop,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_0","type":"function","function":{"name":"get_weather","arguments":"{\"place\": \"Köln\"}"}}]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#
        ]],
    );
    let legacy = Rendering { legacy_calls: true, ..Rendering::default() };
    check(
        legacy,
        outputs[..4].to_vec(),
        stop,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"function_call":{"name":"get_weather","arguments":"{\"place\": \"Köln\"}"}},"logprobs":null,"finish_reason":"function_call"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#
        ]],
    );
}

#[test]
fn a_call_that_is_cut_off_is_no_reason_to_finish() {
    let mut outputs = call(0, &["{\"pla"]);
    outputs.push(OutputEvent::CallAbandoned { index: 0 });
    check(
        Rendering::default(),
        outputs.clone(),
        FinishReason::Length,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_0","type":"function","function":{"name":"get_weather","arguments":"{\"pla"}}]},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#
        ]],
    );
    check(
        Rendering::default(),
        outputs,
        FinishReason::Stop,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_0","type":"function","function":{"name":"get_weather","arguments":"{\"pla"}}]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#
        ]],
    );
}

#[test]
fn reasoning_is_apart_from_content_and_counted() {
    let outputs = vec![
        OutputEvent::Reasoning("h".into()),
        OutputEvent::Reasoning("m".into()),
        OutputEvent::Content("Hello".into()),
    ];
    check(
        Rendering::default(),
        outputs,
        FinishReason::Stop,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null,"reasoning_content":"hm"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}},"system_fingerprint":null}"#
        ]],
    );
    check(
        Rendering::default(),
        vec![],
        FinishReason::Stop,
        expect![[
            r#"[{"index":0,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#
        ]],
    );
}
