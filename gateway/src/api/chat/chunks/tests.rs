use engine_api::{
    CandidateToken, Epoch, FinishReason, Finished, ModelDigest, NumericsClass, PartitionId,
    Placement, Timings, Token, TokenId, TokenLogprob, ZoneId,
};
use expect_test::{Expect, expect};

use super::*;

fn placed() -> Event {
    Event::Placed(Placement {
        partition: PartitionId::new("p"),
        zone: ZoneId::new("eu-de-1"),
        epoch: Epoch(1),
        model_digest: ModelDigest([0xab; 32]),
        numerics: NumericsClass::new("cpu-v1"),
    })
}

fn token(choice: u8, index: u32, text: &str) -> Event {
    let text = text.to_owned();
    Event::Token(Token { choice, index, id: TokenId(7), text, logprob: None })
}

fn finished(choice: u8, text: &str) -> Event {
    Event::Finished(Finished { choice, reason: FinishReason::Stop, text: text.to_owned() })
}

/// An event with what its text turns out to be, in the order of an engine.
fn said(event: Event) -> Vec<Event> {
    let content = |choice, text: &str| {
        let output = OutputEvent::Content(text.to_owned());
        (!text.is_empty()).then_some(Event::Output { choice, output })
    };
    match event {
        Event::Token(token) => {
            let output = content(token.choice, &token.text);
            std::iter::once(Event::Token(token)).chain(output).collect()
        }
        Event::Finished(finished) => {
            let output = content(finished.choice, &finished.text);
            output.into_iter().chain([Event::Finished(finished)]).collect()
        }
        other => vec![other],
    }
}

fn usage() -> Event {
    let usage = Usage { prompt_tokens: 5, completion_tokens: 3, cached_tokens: 2 };
    Event::Usage(usage, Timings::default())
}

fn check(rendering: Rendering, choices: u32, events: Vec<Event>, expected: Expect) {
    let head = Head { id: "i".into(), created: 1, model: "m".into(), service_tier: false };
    let choices = Choices::new(choices).expect("in range");
    let mut chunks = Chunks::new(head, rendering, choices, 5);
    let mut out = BytesMut::new();
    events.into_iter().flat_map(said).for_each(|event| chunks.write(event, &mut out));
    chunks.flush(&mut out);
    let text = String::from_utf8(out.to_vec()).expect("JSON is text");
    // what is the same in every chunk is shown once, by the first test
    let head = r#""id":"i","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"cpu-v1/abababababab","#;
    expected.assert_eq(&text.replace(head, "").replace("\n\n", "\n"));
}

#[test]
fn a_chunk_has_every_field_that_clients_need() {
    let head = Head { id: "i".into(), created: 1, model: "m".into(), service_tier: true };
    let mut chunks = Chunks::new(head, Rendering::default(), Choices::ONE, 5);
    let mut out = BytesMut::new();
    chunks.write(placed(), &mut out);
    expect![[r#"
        data: {"id":"i","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"cpu-v1/abababababab","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

    "#]].assert_eq(std::str::from_utf8(&out).expect("text"));
}

#[test]
fn role_then_content_then_finish_then_usage() {
    let rendering = Rendering { include_usage: true, ..Rendering::default() };
    let events = vec![
        placed(),
        token(0, 0, "Hel"),
        token(0, 1, ""),
        token(0, 2, "lo\n\"x\""),
        finished(0, "!"),
        usage(),
    ];
    check(
        rendering,
        1,
        events,
        expect![[r#"
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"content":"lo\n\"x\""},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"content":"!"},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}
        data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":0}}}
    "#]],
    );
}

#[test]
fn choices_interleave_and_a_second_placement_is_not_seen() {
    let events = vec![
        placed(),
        token(1, 0, "b"),
        token(0, 0, "a"),
        placed(),
        finished(1, ""),
        token(0, 1, "c"),
        finished(0, ""),
        usage(),
    ];
    check(
        Rendering::default(),
        2,
        events,
        expect![[r#"
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":1,"delta":{"content":"b"},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":1,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
        data: {"choices":[{"index":0,"delta":{"content":"c"},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
    "#]],
    );
}

#[test]
fn usage_so_far_is_in_every_chunk_where_asked() {
    let rendering = Rendering { continuous_usage: true, ..Rendering::default() };
    check(
        rendering,
        1,
        vec![placed(), token(0, 0, "a"), finished(0, ""), usage()],
        expect![[r#"
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":0,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}
        data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}
        data: {"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}
    "#]],
    );
}

#[test]
fn a_token_without_text_is_shown_when_its_probability_is() {
    let drawn = CandidateToken { id: TokenId(7), bytes: vec![0xc3], logprob: -1.5 };
    let logprob = Some(TokenLogprob { drawn, top: Vec::new() });
    let token = Token { choice: 0, index: 0, id: TokenId(7), text: String::new(), logprob };
    check(
        Rendering::default(),
        1,
        vec![Event::Token(token)],
        expect![[r#"
        data: {"id":"i","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":null,"choices":[{"index":0,"delta":{"content":""},"logprobs":{"content":[{"token":"bytes:\\xc3","logprob":-1.5,"bytes":[195],"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}
    "#]],
    );
}

fn calling() -> Vec<Event> {
    let output = |output| Event::Output { choice: 0, output };
    let (id, name) = ("call_1".to_owned(), "get_weather".to_owned());
    vec![
        placed(),
        token(0, 0, ""),
        output(OutputEvent::Reasoning("hm".into())),
        token(0, 1, ""),
        output(OutputEvent::CallStarted { index: 0, id, name }),
        output(OutputEvent::Arguments { index: 0, text: String::new() }),
        token(0, 2, ""),
        output(OutputEvent::Arguments { index: 0, text: "{\"place\": ".into() }),
        output(OutputEvent::Arguments { index: 0, text: "\"Ulm\"}".into() }),
        output(OutputEvent::CallFinished { index: 0 }),
        finished(0, ""),
        usage(),
    ]
}

#[test]
fn a_call_has_its_name_once_and_then_its_arguments() {
    let rendering = Rendering { include_usage: true, ..Rendering::default() };
    check(
        rendering,
        1,
        calling(),
        expect![[r#"
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get_weather","arguments":""}}]},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"place\": "}}]},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Ulm\"}"}}]},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}
        data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}
    "#]],
    );
}

#[test]
fn clients_of_functions_read_function_calls() {
    let rendering = Rendering { legacy_calls: true, ..Rendering::default() };
    check(
        rendering,
        1,
        calling(),
        expect![[r#"
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"function_call":{"name":"get_weather","arguments":""}},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"function_call":{"arguments":"{\"place\": "}},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"function_call":{"arguments":"\"Ulm\"}"}},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"function_call"}]}
    "#]],
    );
}

#[test]
fn probabilities_stand_beside_the_text_of_their_token() {
    let with = |choice, index, text: &str| {
        let drawn = CandidateToken { id: TokenId(7), bytes: text.into(), logprob: -1.5 };
        let logprob = Some(TokenLogprob { drawn, top: Vec::new() });
        let text = text.to_owned();
        Event::Token(Token { choice, index, id: TokenId(7), text, logprob })
    };
    let held_back = vec![with(0, 0, ""), token(1, 0, "b")];
    let events = [vec![placed(), with(0, 1, "a")], held_back, vec![finished(0, "c")]].concat();
    check(
        Rendering::default(),
        2,
        events,
        expect![[r#"
        data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-1.5,"bytes":[97],"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"content":""},"logprobs":{"content":[{"token":"","logprob":-1.5,"bytes":[],"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}
        data: {"choices":[{"index":1,"delta":{"content":"b"},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{"content":"c"},"logprobs":null,"finish_reason":null}]}
        data: {"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
    "#]],
    );
}
