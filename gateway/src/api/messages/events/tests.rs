use std::sync::Arc;

use engine_api::{
    BoxFuture, Engine, EngineError, EventStream, FinishReason, ModelCard, ModelId, PrepareRequest,
    Prompt, StopStrings, Submission, TokenId,
};
use expect_test::{Expect, expect};
use http::HeaderMap;

use super::super::state::StopFinder;
use super::*;
use crate::api::answer::Gather;
use crate::api::scripted::{
    arguments, call, call_finished, content, finished, output, placed, reasoning, token, usage,
};
use crate::pipeline::Arrival;

/// Knows one text: that of any tokens.
struct Text(&'static str);

impl Engine for Text {
    fn models(&self) -> Vec<ModelCard> {
        Vec::new()
    }

    fn prepare(&self, _: PrepareRequest) -> BoxFuture<'_, Result<Prompt, EngineError>> {
        Box::pin(async { Err(EngineError::Internal) })
    }

    fn submit(&self, _: Submission) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        Box::pin(async { Err(EngineError::Internal) })
    }

    fn tokenize(&self, _: &ModelId, _: &str) -> Result<Vec<TokenId>, EngineError> {
        Err(EngineError::Internal)
    }

    fn detokenize(&self, _: &ModelId, _: &[TokenId]) -> Result<String, EngineError> {
        Ok(self.0.to_owned())
    }

    fn is_ready(&self, _: &ModelId) -> bool {
        true
    }
}

fn answered(last: &'static str) -> Answered {
    let mut arrival = Arrival::now(&HeaderMap::new());
    arrival.id = engine_api::RequestId::new("i");
    let stop = StopStrings::new(vec!["END".into(), "STOP".into()]).expect("in range");
    let stops = StopFinder::new(Arc::new(Text(last)), ModelId::new("m"), &stop);
    Answered::new(&arrival, "m".into(), 5, stops)
}

fn check(last: &'static str, events: Vec<Event>, expected: Expect) {
    let (mut writer, mut out) = (Events::new(answered(last)), BytesMut::new());
    events.into_iter().for_each(|event| EventWriter::write(&mut writer, 0, event, &mut out));
    writer.done(&mut out);
    let text = std::str::from_utf8(&out).expect("JSON is text");
    expected.assert_eq(&text.replace("\n\n", "\n"));
}

#[test]
fn a_text_has_every_event_in_anthropic_s_order() {
    let events = vec![
        placed(),
        token(None),
        content("Hel"),
        placed(),
        content("lo"),
        finished(FinishReason::Stop),
        usage(),
    ];
    check(
        "lo<end>",
        events,
        expect![[r#"
        event: message_start
        data: {"type":"message_start","message":{"id":"msg_i","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"service_tier":"standard"}}}
        event: ping
        data: {"type":"ping"}
        event: content_block_start
        data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":0}
        event: message_delta
        data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"output_tokens":3,"service_tier":"standard"}}
        event: message_stop
        data: {"type":"message_stop"}
    "#]],
    );
}

#[test]
fn thinking_and_tools_are_blocks_of_their_own() {
    let events = vec![
        placed(),
        reasoning("hm"),
        content("a"),
        call(0, "f"),
        arguments(0, "{\"x\":"),
        arguments(0, "1}"),
        call_finished(0),
        finished(FinishReason::Stop),
        usage(),
    ];
    check(
        "",
        events,
        expect![[r#"
        event: message_start
        data: {"type":"message_start","message":{"id":"msg_i","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"service_tier":"standard"}}}
        event: ping
        data: {"type":"ping"}
        event: content_block_start
        data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":0}
        event: content_block_start
        data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a"}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":1}
        event: content_block_start
        data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_0","name":"f","input":{}}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":2}
        event: message_delta
        data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"output_tokens":3,"service_tier":"standard"}}
        event: message_stop
        data: {"type":"message_stop"}
    "#]],
    );
}

#[test]
fn why_a_message_ended_is_said() {
    let end = |last: &'static str, events: Vec<Event>| {
        let mut answered = answered(last);
        events.into_iter().chain([usage()]).for_each(|event| answered.push(0, event));
        let json = answered.json().expect("it has ended");
        let message: Value = serde_json::from_slice(&json).expect("JSON");
        format!("{} {} {}\n", message["stop_reason"], message["stop_sequence"], message["content"])
    };
    let stop = || finished(FinishReason::Stop);
    let abandoned = || output(engine_api::OutputEvent::CallAbandoned { index: 0 });
    let table = [
        end("b", vec![content("a"), stop()]),
        end("b STOP END", vec![token(None), content("a"), stop()]),
        end("END", vec![content("a"), finished(FinishReason::Length)]),
        end("END", vec![call(0, "f"), arguments(0, "{}"), call_finished(0), stop()]),
        end("", vec![call(0, "f"), arguments(0, "{"), abandoned(), stop()]),
        end("", vec![stop()]),
    ];
    expect![[r#"
        "end_turn" null [{"type":"text","text":"a"}]
        "stop_sequence" "STOP" [{"type":"text","text":"a"}]
        "max_tokens" null [{"type":"text","text":"a"}]
        "tool_use" null [{"type":"tool_use","id":"call_0","name":"f","input":{}}]
        "end_turn" null []
        "end_turn" null []
    "#]]
    .assert_eq(&table.concat());
}

#[test]
fn a_whole_message_has_every_field() {
    let mut answered = answered("");
    for event in [placed(), reasoning("hm"), content("a"), finished(FinishReason::Stop)] {
        answered.push(0, event);
    }
    assert!(answered.json().is_none(), "its usage is not known");
    answered.push(0, usage());
    let text = String::from_utf8(answered.json().expect("it has ended")).expect("text");
    expect![[r#"{"id":"msg_i","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"output_tokens":3,"service_tier":"standard"}}"#]].assert_eq(&text);
}

#[test]
fn a_failure_is_an_error_and_no_end() {
    let (mut writer, mut out) = (Events::new(answered("")), BytesMut::new());
    assert_eq!(writer.keep_alive(), KEEP_ALIVE, "no event comes before the message");
    EventWriter::write(&mut writer, 0, placed(), &mut out);
    assert!(writer.keep_alive().starts_with(b"event: ping"));
    out.clear();
    writer.fail(&EngineError::Internal.into(), &mut out);
    expect![[r#"
        event: error
        data: {"type":"error","error":{"type":"api_error","message":"the engine failed on this request","details":{"error_code":"internal_error"}}}

    "#]].assert_eq(std::str::from_utf8(&out).expect("text"));
}
