use engine_api::{CandidateToken, Event, TokenId};
use expect_test::{Expect, expect};

use super::*;
use crate::api::scripted::{arguments, call, call_finished, content, reasoning, token};

fn logprob(text: &str) -> TokenLogprob {
    let drawn = CandidateToken { id: TokenId(1), bytes: text.into(), logprob: -1.0 };
    TokenLogprob { drawn, top: Vec::new() }
}

fn shown(changes: Vec<Change>, shown: &mut String) {
    for change in changes {
        shown.push_str(&match change {
            Change::Opened(index) => format!("open {index}\n"),
            Change::Grew { index, text, logprobs } => {
                format!("grow {index} {text:?} with {} tokens\n", logprobs.len())
            }
            Change::Closed(index) => format!("close {index}\n"),
        });
    }
}

fn check(events: Vec<Event>, reason: FinishReason, expected: Expect) {
    let (mut parts, mut text) = (Parts::default(), String::new());
    for event in events {
        match event {
            Event::Token(token) => parts.token(token.logprob),
            Event::Output { output, .. } => shown(parts.push(output), &mut text),
            other => panic!("{other:?} is nothing to a part"),
        }
    }
    shown(parts.finish(reason), &mut text);
    for part in parts.all() {
        text += &format!("{:?} {:?} {:?}\n", part.kind, part.text, part.state);
    }
    text +=
        &format!("{} tokens of reasoning, a call: {}", parts.reasoning_tokens(), parts.has_call());
    expected.assert_eq(&text);
}

#[test]
fn reasoning_text_and_calls_follow_each_other() {
    let events = vec![
        token(None),
        token(None),
        reasoning("hm"),
        token(None),
        reasoning("."),
        token(Some(logprob("a"))),
        content("a"),
        token(Some(logprob("b"))),
        token(Some(logprob("c"))),
        content("bc"),
        token(Some(logprob("<"))),
        call(0, "f"),
        arguments(0, "{"),
        arguments(0, "}"),
        call_finished(0),
        call(1, "g"),
        call_finished(1),
        content("!"),
        token(Some(logprob("<end>"))),
    ];
    check(
        events,
        FinishReason::Stop,
        expect![[r#"
        open 0
        grow 0 "hm" with 0 tokens
        grow 0 "." with 0 tokens
        close 0
        open 1
        grow 1 "a" with 1 tokens
        grow 1 "bc" with 2 tokens
        close 1
        open 2
        grow 2 "{" with 0 tokens
        grow 2 "}" with 0 tokens
        close 2
        open 3
        close 3
        open 4
        grow 4 "!" with 0 tokens
        grow 4 "" with 1 tokens
        close 4
        Reasoning "hm." Whole
        Text "abc" Whole
        Call { id: "call_0", name: "f" } "{}" Whole
        Call { id: "call_1", name: "g" } "" Whole
        Text "!" Whole
        3 tokens of reasoning, a call: true"#]],
    );
}

#[test]
fn what_is_cut_off_is_never_whole() {
    let abandoned = crate::api::scripted::output(OutputEvent::CallAbandoned { index: 0 });
    check(
        vec![content("a")],
        FinishReason::Length,
        expect![[r#"
        open 0
        grow 0 "a" with 0 tokens
        close 0
        Text "a" Cut
        0 tokens of reasoning, a call: false"#]],
    );
    check(
        vec![call(0, "f"), arguments(0, "{")],
        FinishReason::Length,
        expect![[r#"
        open 0
        grow 0 "{" with 0 tokens
        close 0
        Call { id: "call_0", name: "f" } "{" Cut
        0 tokens of reasoning, a call: false"#]],
    );
    check(
        vec![call(0, "f"), arguments(0, "{"), abandoned],
        FinishReason::Stop,
        expect![[r#"
        open 0
        grow 0 "{" with 0 tokens
        close 0
        Call { id: "call_0", name: "f" } "{" Cut
        0 tokens of reasoning, a call: false"#]],
    );
    check(
        vec![call(0, "f"), content("a")],
        FinishReason::Stop,
        expect![[r#"
        open 0
        close 0
        open 1
        grow 1 "a" with 0 tokens
        close 1
        Call { id: "call_0", name: "f" } "" Cut
        Text "a" Whole
        0 tokens of reasoning, a call: false"#]],
    );
    check(
        vec![call(0, "f"), arguments(3, "{")],
        FinishReason::Stop,
        expect![[r#"
        open 0
        close 0
        Call { id: "call_0", name: "f" } "" Cut
        0 tokens of reasoning, a call: false"#]],
    );
    check(vec![], FinishReason::Stop, expect!["0 tokens of reasoning, a call: false"]);
}
