#![allow(clippy::unwrap_used)]

use engine_api::{MaxTokens, StopStrings, StopTokens};
use engine_text::{Control, GgufHeader};
use engine_tiny::TinyModel;
use expect_test::{Expect, expect};

use super::*;

fn tokenizer() -> Tokenizer {
    let bytes = TinyModel::default().to_bytes();
    let header = GgufHeader::parse(bytes.as_slice(), bytes.len() as u64).unwrap();
    Tokenizer::from_gguf(&header).unwrap()
}

/// The end of a turn in the tiny model.
const END: TokenId = TokenId(2);

/// Feeds the tokens of a text, then those given by id; shows what each released.
fn check(text: &str, then: &[TokenId], stop: &[&str], ending: Ending, expected: Expect) {
    check_with(StopTokens::default(), text, then, stop, ending, expected);
}

fn check_with(
    stop_tokens: StopTokens,
    text: &str,
    then: &[TokenId],
    stop: &[&str],
    ending: Ending,
    expected: Expect,
) {
    let tokenizer = tokenizer();
    let stop = StopStrings::new(stop.iter().map(|stop| stop.to_string()).collect()).unwrap();
    let max_tokens = MaxTokens::new(ending.tokens_max).unwrap();
    let stopping = Stopping { max_tokens, stop, stop_tokens, ignore_eos: false, min_tokens: 0 };
    let mut sequence = Sequence::new(&stopping, &[], None);
    let tokens = tokenizer.encode(text, Control::Never).into_iter().map(TokenId);
    let mut shown = String::new();
    for token in tokens.chain(then.iter().copied()) {
        if sequence.is_ended() {
            shown.push_str("(more)");
            break;
        }
        let Accepted { text, end } = sequence.accept(token, &ending, &tokenizer).unwrap();
        shown.push_str(&format!("{text:?} "));
        if let Some(End { reason, text }) = end {
            shown.push_str(&format!("{reason:?} {text:?}"));
        }
    }
    expected.assert_eq(shown.trim_end());
}

fn up_to(tokens_max: u32) -> Ending {
    Ending { tokens_max, tokens_min: 0, ignore_eos: false }
}

#[test]
fn text_is_released_as_it_becomes_certain() {
    check("héy", &[END], &[], up_to(9), expect![[r#""h" "" "é" "y" "" Stop """#]]);
    check("abcabd.", &[], &["abd"], up_to(99), expect![[r#""" "" "abc" "" "" "" Stop ""(more)"#]]);
    check("abcab", &[END], &["abd"], up_to(99), expect![[r#""" "" "abc" "" "" "" Stop "ab""#]]);
}

#[test]
fn length_releases_what_was_held_back() {
    check("abé", &[], &["b\u{e9}x"], up_to(3), expect![[r#""a" "" "" Length "b�"(more)"#]]);
    check("ab", &[], &["b"], up_to(2), expect![[r#""a" "" Stop """#]]);
}

#[test]
fn nothing_stops_an_answer_before_its_least_length() {
    let ending = Ending { tokens_min: 3, ..up_to(9) };
    check("xbxbx", &[END], &["b"], ending, expect![[r#""x" "b" "x" "" Stop ""(more)"#]]);
}

#[test]
fn ignored_end_tokens_are_drawn_without_text() {
    let ending = Ending { ignore_eos: true, ..up_to(4) };
    check("a", &[END, END, END], &[], ending, expect![[r#""a" "" "" "" Length """#]]);
}

#[test]
fn a_stop_token_ends_an_answer_without_its_text() {
    let letter = TokenId(tokenizer().encode("x", Control::Never)[0]);
    let stop = || StopTokens::new([letter]).unwrap();
    check_with(stop(), "abxc", &[], &[], up_to(9), expect![[r#""a" "b" "" Stop ""(more)"#]]);
    let ignoring = Ending { ignore_eos: true, ..up_to(9) };
    let end = StopTokens::new([END]).unwrap();
    check_with(end, "a", &[END, END], &[], ignoring, expect![[r#""a" "" Stop ""(more)"#]]);
    // text that was held back as the begin of a stop string belongs to the answer
    check_with(stop(), "abx", &[], &["bc"], up_to(9), expect![[r#""a" "" "" Stop "b""#]]);
}

#[test]
fn what_would_end_an_answer_is_barred_until_its_least_length() {
    let tokenizer = tokenizer();
    let stopping = Stopping {
        max_tokens: MaxTokens::new(9).unwrap(),
        stop: StopStrings::default(),
        stop_tokens: StopTokens::new([TokenId(7), TokenId(9)]).unwrap(),
        ignore_eos: false,
        min_tokens: 1,
    };
    let ending = Ending { tokens_min: 1, ..up_to(9) };
    let ignoring = Ending { ignore_eos: true, ..ending.clone() };
    let mut sequence = Sequence::new(&stopping, &[], None);
    let mut all = vec![TokenId(7), TokenId(9)];
    assert_eq!(sequence.barred(&ignoring, &tokenizer), all);
    all.extend(tokenizer.end_tokens().iter().copied().map(TokenId));
    assert_eq!(sequence.barred(&ending, &tokenizer), all);
    sequence.accept(TokenId(5), &ending, &tokenizer).unwrap();
    assert_eq!(sequence.barred(&ending, &tokenizer), []);
}
