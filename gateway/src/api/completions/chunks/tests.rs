use engine_api::{
    CandidateToken, Choices, EngineError, FinishReason, Finished, Timings, Token, TokenId,
    TokenLogprob,
};
use expect_test::{Expect, expect};

use super::super::whole::Gathered;
use super::*;
use crate::api::answer::Gather;
use crate::api::scripted::placed;

fn head(choices: u32, echoes: &[&str]) -> Head {
    Head {
        id: "i".into(),
        created: 1,
        model: "m".into(),
        choices: Choices::new(choices).expect("in range"),
        echoes: echoes.iter().map(|echo| (*echo).to_owned()).collect(),
    }
}

fn token(choice: u8, index: u32, bytes: &[u8]) -> Event {
    let candidate =
        |bytes: &[u8], logprob| CandidateToken { id: TokenId(1), bytes: bytes.to_vec(), logprob };
    let logprob =
        Some(TokenLogprob { drawn: candidate(bytes, -1.5), top: vec![candidate(b"x", -0.5)] });
    Event::Token(Token { choice, index, id: TokenId(1), text: String::new(), logprob })
}

fn content(choice: u8, text: &str) -> Event {
    Event::Output { choice, output: OutputEvent::Content(text.to_owned()) }
}

fn finished(choice: u8) -> Event {
    Event::Finished(Finished { choice, reason: FinishReason::Length, text: String::new() })
}

fn usage() -> Event {
    let usage = Usage { prompt_tokens: 5, completion_tokens: 3, cached_tokens: 2 };
    Event::Usage(usage, Timings::default())
}

fn check(
    head: Head,
    rendering: Rendering,
    prompts: usize,
    events: Vec<(usize, Event)>,
    expected: Expect,
) {
    let mut chunks = Chunks::new(head, rendering, prompts, 10);
    let mut out = BytesMut::new();
    events.into_iter().for_each(|(prompt, event)| chunks.write(prompt, event, &mut out));
    chunks.done(&mut out);
    let text = String::from_utf8(out.to_vec()).expect("JSON is text");
    let head = r#""id":"i","object":"text_completion","created":1,"model":"m","system_fingerprint":"cpu-v1/abababababab","#;
    expected.assert_eq(&text.replace(head, "").replace("\n\n", "\n"));
}

#[test]
fn prompts_and_choices_have_one_row_of_indices() {
    let events = vec![
        (1, placed()),
        (0, placed()),
        (1, content(0, "c")),
        (0, content(1, "b")),
        (0, placed()),
        (0, finished(1)),
        (1, finished(0)),
        (1, finished(1)),
        (0, finished(0)),
        (0, usage()),
        (1, usage()),
    ];
    let rendering = Rendering { include_usage: true, ..Rendering::default() };
    check(
        head(2, &["A", "B"]),
        rendering,
        2,
        events,
        expect![[r#"
        data: {"choices":[{"index":2,"text":"B","logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":3,"text":"B","logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":0,"text":"A","logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":1,"text":"A","logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":2,"text":"c","logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":1,"text":"b","logprobs":null,"finish_reason":null}],"usage":null}
        data: {"choices":[{"index":1,"text":"","logprobs":null,"finish_reason":"length"}],"usage":null}
        data: {"choices":[{"index":2,"text":"","logprobs":null,"finish_reason":"length"}],"usage":null}
        data: {"choices":[{"index":3,"text":"","logprobs":null,"finish_reason":"length"}],"usage":null}
        data: {"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length"}],"usage":null}
        data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":6,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}}
        data: [DONE]
    "#]],
    );
}

#[test]
fn log_probabilities_come_with_their_text_and_offsets_count_characters() {
    let events = vec![
        (0, placed()),
        (0, token(0, 0, "é".as_bytes())),
        (0, content(0, "é")),
        (0, token(0, 1, b"\xc3")),
        (0, token(0, 2, b"\xa4b")),
        (0, content(0, "äb")),
        (0, token(0, 3, b"")),
        (0, finished(0)),
        (0, usage()),
    ];
    check(
        head(1, &[]),
        Rendering::default(),
        1,
        events,
        expect![[r#"
        data: {"choices":[{"index":0,"text":"é","logprobs":{"tokens":["é"],"token_logprobs":[-1.5],"top_logprobs":[{"x":-0.5,"é":-1.5}],"text_offset":[0]},"finish_reason":null}]}
        data: {"choices":[{"index":0,"text":"äb","logprobs":{"tokens":["bytes:\\xc3","bytes:\\xa4\\x62"],"token_logprobs":[-1.5,-1.5],"top_logprobs":[{"x":-0.5,"bytes:\\xc3":-1.5},{"x":-0.5,"bytes:\\xa4\\x62":-1.5}],"text_offset":[1,2]},"finish_reason":null}]}
        data: {"choices":[{"index":0,"text":"","logprobs":{"tokens":[""],"token_logprobs":[-1.5],"top_logprobs":[{"x":-0.5,"":-1.5}],"text_offset":[3]},"finish_reason":"length"}]}
        data: [DONE]
    "#]],
    );
}

#[test]
fn a_failed_stream_has_no_end_in_good_order() {
    let mut chunks = Chunks::new(head(1, &[]), Rendering::default(), 1, 5);
    let mut out = BytesMut::new();
    chunks.fail(&EngineError::Internal.into(), &mut out);
    let text = String::from_utf8(out.to_vec()).expect("JSON is text");
    assert!(text.contains("\"code\":\"internal_error\"") && !text.contains("[DONE]"), "{text}");
}

#[test]
fn a_whole_answer_begins_with_its_prompt_and_counts_all() {
    let mut gathered = Gathered::new(head(1, &["A ", "B "]), 2);
    let events = [
        (0, placed()),
        (1, placed()),
        (1, content(0, "b")),
        (0, token(0, 0, b"a")),
        (0, content(0, "a")),
        (0, finished(0)),
        (1, finished(0)),
        (0, usage()),
    ];
    events.into_iter().for_each(|(prompt, event)| gathered.push(prompt, event));
    assert!(gathered.json().is_none(), "the second prompt is not counted yet");
    gathered.push(1, usage());
    let text = String::from_utf8(gathered.json().expect("all has ended")).expect("text");
    expect![[r#"{"id":"i","object":"text_completion","created":1,"model":"m","system_fingerprint":"cpu-v1/abababababab","choices":[{"index":0,"text":"A a","logprobs":{"tokens":["a"],"token_logprobs":[-1.5],"top_logprobs":[{"x":-0.5,"a":-1.5}],"text_offset":[0]},"finish_reason":"length"},{"index":1,"text":"B b","logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":10,"completion_tokens":6,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}}"#]].assert_eq(&text);
}
