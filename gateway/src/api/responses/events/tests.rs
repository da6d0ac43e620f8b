use engine_api::{CandidateToken, EngineError, FinishReason, TokenId};
use expect_test::{Expect, expect};
use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::api::answer::Gather;
use crate::api::responses::request;
use crate::api::scripted::{
    arguments, call, call_finished, content, finished, output, placed, reasoning, token, usage,
};
use crate::pipeline::Arrival;

fn answered() -> Answered {
    let wanted = request::parse(&json!({"model": "m", "input": "hi"})).expect("valid");
    let mut arrival = Arrival::now(&HeaderMap::new());
    arrival.id = engine_api::RequestId::new("i");
    arrival.unix_s = 1;
    Answered::new(&arrival, "m".into(), wanted.echo)
}

/// Each event on a line; the response in it only by its status and number of items.
fn lines(out: &BytesMut) -> String {
    let text = std::str::from_utf8(out).expect("JSON is text");
    let events = text.split("\n\n").filter(|event| !event.is_empty()).enumerate();
    let line = |(sequence, event): (usize, &str)| {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let mut data: Value = serde_json::from_str(&data["data: ".len()..]).expect("JSON");
        assert_eq!(name, format!("event: {}", data["type"].as_str().expect("a type")));
        assert_eq!(data["sequence_number"], sequence);
        let map = data.as_object_mut().expect("an object");
        map.shift_remove("sequence_number");
        if let Some(response) = map.get_mut("response") {
            let items = response["output"].as_array().map_or(0, Vec::len);
            *response = format!("{} {items} {}", response["status"], response["error"]).into();
        }
        format!("{data}\n")
    };
    events.map(line).collect()
}

fn check(events: Vec<Event>, expected: Expect) {
    let (mut writer, mut out) = (Events::new(answered()), BytesMut::new());
    events.into_iter().for_each(|event| EventWriter::write(&mut writer, 0, event, &mut out));
    writer.done(&mut out);
    expected.assert_eq(&lines(&out));
}

#[test]
fn a_text_has_every_event_in_openai_s_order() {
    let drawn = CandidateToken { id: TokenId(1), bytes: b"Hel".to_vec(), logprob: -0.5 };
    let logprob = Some(TokenLogprob { drawn, top: Vec::new() });
    let events = vec![
        placed(),
        token(logprob),
        content("Hel"),
        placed(),
        content("lo"),
        finished(FinishReason::Stop),
        usage(),
    ];
    check(
        events,
        expect![[r#"
            {"type":"response.created","response":"\"in_progress\" 0 null"}
            {"type":"response.in_progress","response":"\"in_progress\" 0 null"}
            {"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_i00","role":"assistant","status":"in_progress","content":[]}}
            {"type":"response.content_part.added","item_id":"msg_i00","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
            {"type":"response.output_text.delta","item_id":"msg_i00","output_index":0,"content_index":0,"delta":"Hel","logprobs":[{"token":"Hel","logprob":-0.5,"bytes":[72,101,108],"top_logprobs":[]}]}
            {"type":"response.output_text.delta","item_id":"msg_i00","output_index":0,"content_index":0,"delta":"lo","logprobs":[]}
            {"type":"response.output_text.done","item_id":"msg_i00","output_index":0,"content_index":0,"text":"Hello","logprobs":[{"token":"Hel","logprob":-0.5,"bytes":[72,101,108],"top_logprobs":[]}]}
            {"type":"response.content_part.done","item_id":"msg_i00","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[{"token":"Hel","logprob":-0.5,"bytes":[72,101,108],"top_logprobs":[]}]}}
            {"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"msg_i00","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[{"token":"Hel","logprob":-0.5,"bytes":[72,101,108],"top_logprobs":[]}]}]}}
            {"type":"response.completed","response":"\"completed\" 1 null"}
        "#]],
    );
}

#[test]
fn reasoning_and_calls_are_items_of_their_own() {
    let events = vec![
        placed(),
        reasoning("hm"),
        call(0, "f"),
        arguments(0, "{}"),
        call_finished(0),
        call(1, "g"),
        arguments(1, "{"),
        output(engine_api::OutputEvent::CallAbandoned { index: 1 }),
        finished(FinishReason::Length),
        usage(),
    ];
    check(
        events,
        expect![[r#"
            {"type":"response.created","response":"\"in_progress\" 0 null"}
            {"type":"response.in_progress","response":"\"in_progress\" 0 null"}
            {"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_i00","summary":[],"content":[],"status":"in_progress"}}
            {"type":"response.content_part.added","item_id":"rs_i00","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":""}}
            {"type":"response.reasoning_text.delta","item_id":"rs_i00","output_index":0,"content_index":0,"delta":"hm"}
            {"type":"response.reasoning_text.done","item_id":"rs_i00","output_index":0,"content_index":0,"text":"hm"}
            {"type":"response.content_part.done","item_id":"rs_i00","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":"hm"}}
            {"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_i00","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"status":"completed"}}
            {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc_i01","call_id":"call_0","name":"f","arguments":"","status":"in_progress"}}
            {"type":"response.function_call_arguments.delta","item_id":"fc_i01","output_index":1,"delta":"{}"}
            {"type":"response.function_call_arguments.done","item_id":"fc_i01","output_index":1,"name":"f","arguments":"{}"}
            {"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","id":"fc_i01","call_id":"call_0","name":"f","arguments":"{}","status":"completed"}}
            {"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_i02","call_id":"call_1","name":"g","arguments":"","status":"in_progress"}}
            {"type":"response.function_call_arguments.delta","item_id":"fc_i02","output_index":2,"delta":"{"}
            {"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","id":"fc_i02","call_id":"call_1","name":"g","arguments":"{","status":"incomplete"}}
            {"type":"response.incomplete","response":"\"incomplete\" 3 null"}
        "#]],
    );
}

#[test]
fn an_answer_of_nothing_is_an_empty_message() {
    check(
        vec![placed(), finished(FinishReason::Stop), usage()],
        expect![[r#"
            {"type":"response.created","response":"\"in_progress\" 0 null"}
            {"type":"response.in_progress","response":"\"in_progress\" 0 null"}
            {"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_i00","role":"assistant","status":"in_progress","content":[]}}
            {"type":"response.content_part.added","item_id":"msg_i00","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
            {"type":"response.output_text.done","item_id":"msg_i00","output_index":0,"content_index":0,"text":"","logprobs":[]}
            {"type":"response.content_part.done","item_id":"msg_i00","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
            {"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"msg_i00","role":"assistant","status":"completed","content":[{"type":"output_text","text":"","annotations":[],"logprobs":[]}]}}
            {"type":"response.completed","response":"\"completed\" 1 null"}
        "#]],
    );
}

#[test]
fn a_failure_is_an_error_and_a_failed_response_and_never_an_end_in_good_order() {
    for events in [vec![], vec![placed(), content("a")]] {
        let (mut writer, mut out) = (Events::new(answered()), BytesMut::new());
        events.into_iter().for_each(|event| EventWriter::write(&mut writer, 0, event, &mut out));
        writer.fail(&EngineError::Internal.into(), &mut out);
        let lines = lines(&out);
        let ends: Vec<&str> = lines.lines().rev().take(2).collect();
        assert!(lines.starts_with("{\"type\":\"response.created\""), "{lines}");
        assert!(
            ends[0].starts_with("{\"type\":\"response.failed\"")
                && ends[0].contains("server_error")
        );
        assert!(
            ends[1].starts_with("{\"type\":\"error\",\"code\":\"internal_error\""),
            "{}",
            ends[1]
        );
    }
}

#[test]
fn a_whole_response_has_every_field_that_typed_clients_read() {
    let mut answered = answered();
    for event in [placed(), token(None), reasoning("hm"), content("a")] {
        answered.push(0, event);
    }
    answered.push(0, finished(FinishReason::Length));
    assert!(answered.json().is_none(), "its usage is not known");
    answered.push(0, usage());
    let text = String::from_utf8(answered.json().expect("it has ended")).expect("text");
    expect![[r#"{"id":"resp_i","object":"response","created_at":1,"status":"incomplete","background":false,"completed_at":null,"error":null,"incomplete_details":{"reason":"max_output_tokens"},"model":"m","output":[{"type":"reasoning","id":"rs_i00","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"status":"completed"},{"type":"message","id":"msg_i01","role":"assistant","status":"incomplete","content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]}],"previous_response_id":null,"service_tier":"default","store":false,"truncation":"disabled","usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":2,"cache_write_tokens":0},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":8},"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"metadata":{},"parallel_tool_calls":true,"prompt_cache_key":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"user":null}"#]].assert_eq(&text);
}
