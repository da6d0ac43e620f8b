#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use engine_tiny::TinyModel;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::gguf::draft::Draft;

/// Has a token for every byte, and `<|endoftext|>`, `<|im_start|>`, `<|im_end|>` as 0, 1, 2.
static TINY: LazyLock<Tokenizer> = LazyLock::new(|| {
    let bytes = TinyModel::default().to_bytes();
    tokenizer(&bytes).unwrap()
});

/// Has a user-defined token, a control token inside it, and one that begins like it.
static USER_DEFINED: LazyLock<Tokenizer> = LazyLock::new(|| {
    let tokens = [("a", 1), ("<x>", 4), ("<|im_end|>", 3), ("<x", 3), ("Ġ", 1), ("aĠ", 1)];
    tokenizer(&byte_pairs(&tokens, &["a Ġ"]).bytes()).unwrap()
});

/// Sees a space before text that follows a token.
static SPACED: LazyLock<Tokenizer> =
    LazyLock::new(|| tokenizer(&sentence_pieces().bytes()).unwrap());

fn tokenizer(file: &[u8]) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_gguf(&GgufHeader::parse(file, file.len() as u64).unwrap())
}

/// A draft with `tokens` of these types, without what belongs to one model only.
fn draft(model: &str, tokens: &[(&str, i32)]) -> Draft {
    let (texts, types): (Vec<&str>, Vec<i32>) = tokens.iter().copied().unzip();
    Draft::default()
        .text("tokenizer.ggml.model", model)
        .texts("tokenizer.ggml.tokens", &texts)
        .i32s("tokenizer.ggml.token_type", &types)
}

fn byte_pairs(tokens: &[(&str, i32)], merges: &[&str]) -> Draft {
    let draft = draft("gpt2", tokens).text("tokenizer.ggml.pre", "gpt-2");
    draft.texts("tokenizer.ggml.merges", merges)
}

fn refuses(draft: &Draft, expected: Expect) {
    expected.assert_eq(&tokenizer(&draft.bytes()).unwrap_err().to_string());
}

#[test]
fn control_texts_are_tokens_only_where_they_may_be() {
    let text = "<|im_start|>a<|im_end|><|im_end|>";
    let marked = TINY.encode(text, Control::Except(&[]));
    assert_eq!([marked[0], marked[2], marked[3]], [1, 2, 2]);
    assert_eq!(marked.len(), 4);
    let second = TINY.encode(text, Control::Except(&[13]));
    assert_eq!(second[..2], marked[..2]);
    assert_eq!(second.last(), Some(&2));
    assert_eq!(second.iter().filter(|id| TINY.is_control(**id)).count(), 2);
    assert_eq!(TINY.decode(&second), "a<|im_end|>");
    let plain = TINY.encode(text, Control::Never);
    assert_eq!(plain.len(), text.len());
    assert_eq!(TINY.decode(&plain), text);
}

#[test]
fn the_vocabulary_is_described() {
    assert_eq!(TINY.vocabulary(), TinyModel::default().vocabulary());
    assert_eq!(TINY.end_tokens(), [0, 2]);
    assert_eq!(TINY.bos(), None);
    assert_eq!((TINY.bos_text(), TINY.eos_text()), (Some("<|im_start|>"), Some("<|im_end|>")));
    assert!(TINY.is_control(2) && !TINY.is_control(3) && !TINY.is_control(u32::MAX));
    assert_eq!(TINY.bytes(3 + 0xff), [0xff]);
    assert!(TINY.bytes(2).is_empty() && TINY.bytes(u32::MAX).is_empty());
    let texts: Vec<&str> = TINY.control_strings().collect();
    assert_eq!(texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]);
}

#[test]
fn long_runs_are_encoded() {
    let kinds = ["a", " ", "\n", "1", "the ", "<|im_end|>", "<|im_end", "é"];
    for text in kinds.map(|kind| kind.repeat(100_000)) {
        let ids = TINY.encode(&text, Control::Never);
        assert!(TINY.decode(&ids) == text);
        TINY.encode(&text, Control::Except(&[]));
    }
}

proptest! {
    #[test]
    fn every_text_comes_back(text in "(\\PC|\\pC|the and|<\\|im_end\\|>|<\\|)*") {
        let ids = TINY.encode(&text, Control::Never);
        prop_assert!(ids.iter().all(|id| !TINY.is_control(*id)));
        prop_assert_eq!(TINY.decode(&ids), text);
    }

    #[test]
    fn segments_are_encoded_as_the_whole(
        text in "(a|é|\n| |the|<\\|im_end\\|>|<\\|im_start\\|>|<\\||<x>|<x){0,20}",
        literal in prop::collection::btree_set(0..60usize, 0..20),
    ) {
        let literal: Vec<usize> = literal.into_iter().collect();
        let control = Control::Except(&literal);
        for tokenizer in [&*TINY, &*USER_DEFINED, &*SPACED] {
            let mut ids = Vec::new();
            let mut again = String::new();
            for segment in tokenizer.segments(&text, control) {
                let plain = tokenizer.encode(segment.plain, Control::Never);
                prop_assert!(plain.iter().all(|id| !tokenizer.is_control(*id)));
                ids.extend(plain);
                ids.extend(segment.mark);
                again.push_str(segment.plain);
            }
            prop_assert_eq!(ids, tokenizer.encode(&text, control));
            prop_assert!(again.len() <= text.len());
        }
    }

    #[test]
    fn excepting_all_places_is_never(text in "(a|é|<\\|im_end\\|>|<\\|im_start\\|>|<\\|){0,20}") {
        let places: Vec<usize> = (0..text.len()).collect();
        let ids = TINY.encode(&text, Control::Except(&places));
        prop_assert_eq!(ids, TINY.encode(&text, Control::Never));
    }
}

#[test]
fn the_best_merge_goes_first() {
    let tokens = ["a", "b", "c", "bc", "ab", "abc"].map(|text| (text, 1));
    let rightmost = byte_pairs(&tokens, &["b c", "a b", "a bc"]);
    assert_eq!(tokenizer(&rightmost.bytes()).unwrap().encode("abc", Control::Never), [5]);
    let leftmost = byte_pairs(&tokens, &["a b", "b c", "a bc"]);
    assert_eq!(tokenizer(&leftmost.bytes()).unwrap().encode("abc", Control::Never), [4, 2]);
}

#[test]
fn a_byte_without_a_token_leaves_nothing() {
    let tokens = ["a", "b", "ab"].map(|text| (text, 1));
    let tokenizer = tokenizer(&byte_pairs(&tokens, &["a b"]).bytes()).unwrap();
    assert_eq!(tokenizer.encode("axb", Control::Never), [2]);
}

#[test]
fn user_defined_tokens_are_found_in_any_text() {
    let tokens = [("a", 1), ("<tool>", 4), ("<end_of_turn>", 4), ("<t", 3), ("Ġ", 1)];
    let tokenizer = tokenizer(&byte_pairs(&tokens, &[]).bytes()).unwrap();
    let text = "a<tool>a<end_of_turn><t";
    assert_eq!(tokenizer.encode(text, Control::Never), [0, 1, 0]);
    assert_eq!(tokenizer.encode(text, Control::Except(&[])), [0, 1, 0, 2, 3]);
    // the same place excepted: the control token `<t` goes, the user-defined one stays
    assert_eq!(tokenizer.encode("<tool>", Control::Except(&[0])), [1]);
    assert_eq!(tokenizer.bytes(1), b"<tool>");
    assert_eq!(tokenizer.end_tokens(), [2]);
}

#[test]
fn whole_words_stay_whole_where_the_model_says_so() {
    let tokens = ["a", "b", "c", "ab", "bc", "abc"].map(|text| (text, 1));
    let build = |pre| {
        let draft = draft("gpt2", &tokens).text("tokenizer.ggml.pre", pre);
        tokenizer(&draft.texts("tokenizer.ggml.merges", &["a b", "b c"]).bytes()).unwrap()
    };
    assert_eq!(build("llama-bpe").encode("abc", Control::Never), [5]);
    assert_eq!(build("qwen2").encode("abc", Control::Never), [3, 2]);
}

const PIECES: [(&str, i32); 14] = [
    ("<unk>", 2),
    ("<s>", 3),
    ("</s>", 3),
    ("<0xC3>", 6),
    ("<0xA9>", 6),
    ("▁", 1),
    ("a", 1),
    ("b", 1),
    ("▁a", 1),
    ("ab", 1),
    ("<", 1),
    ("s", 1),
    (">", 1),
    ("s>", 1),
];

fn sentence_pieces() -> Draft {
    let scores = (0..PIECES.len()).map(|id| -(id as f32)).collect::<Vec<_>>();
    draft("llama", &PIECES).f32s("tokenizer.ggml.scores", &scores)
}

#[test]
fn sentence_pieces_merge_by_score() {
    let tokenizer = tokenizer(&sentence_pieces().bytes()).unwrap();
    assert_eq!(tokenizer.encode("ab", Control::Never), [8, 7]);
    assert_eq!(tokenizer.encode("bab", Control::Never), [5, 7, 9]);
    // é by its bytes, ü not even that
    assert_eq!(tokenizer.encode("aéü", Control::Except(&[])), [8, 3, 4]);
    // text does not merge into a control token, though `<` and `s>` are pieces
    assert_eq!(tokenizer.encode("<s>", Control::Never), [5, 10, 13]);
    // after a token comes a space, after text none
    assert_eq!(tokenizer.encode("<s>a", Control::Except(&[])), [1, 8]);
    assert_eq!(tokenizer.decode(&[1, 8, 7, 3, 4]), "abé");
    assert_eq!((tokenizer.bos(), tokenizer.end_tokens()), (Some(1), &[2][..]));
    assert!(tokenizer.encode("", Control::Never).is_empty());
}

#[test]
fn a_space_is_added_only_where_the_model_wants_it() {
    let draft = sentence_pieces()
        .bool("tokenizer.ggml.add_space_prefix", false)
        .bool("tokenizer.ggml.add_bos_token", false)
        .number("tokenizer.ggml.unknown_token_id", 0);
    let tokenizer = tokenizer(&draft.bytes()).unwrap();
    assert_eq!(tokenizer.encode("ab a", Control::Never), [9, 8]);
    assert_eq!(tokenizer.encode("ü", Control::Never), [0]);
    assert_eq!(tokenizer.decode(&[8]), " a");
    assert!(tokenizer.spells_exactly() && !SPACED.spells_exactly());
    assert_eq!(tokenizer.bos(), None);
}

#[test]
fn what_is_not_known_is_refused() {
    let a = [("a", 1)];
    refuses(
        &Draft::default(),
        expect!["the model file has no `tokenizer.ggml.model`, or not of the right type"],
    );
    refuses(
        &draft("bert", &a),
        expect!["tokenizer model `bert` is not supported; supported are gpt2 and llama"],
    );
    refuses(
        &draft("gpt2", &a).text("tokenizer.ggml.pre", "other").texts("tokenizer.ggml.merges", &[]),
        expect![[r#"
            pre-tokenizer `other` is not supported; supported are smollm, gpt-2, llama-bpe, llama3, llama-v3, qwen2, tekken, default"#]],
    );
    refuses(
        &draft("gpt2", &a).texts("tokenizer.ggml.merges", &[]),
        expect!["the model file has no `tokenizer.ggml.pre`, or not of the right type"],
    );
    refuses(&draft("gpt2", &[("a", 9)]), expect!["token 0 has a type that does not exist"]);
    refuses(
        &draft("llama", &[("a", 6)]),
        expect!["token 0 is of the byte type, but not spelled like <0x0A>"],
    );
    refuses(
        &draft("llama", &a).f32s("tokenizer.ggml.scores", &[1.0, 2.0]),
        expect!["`tokenizer.ggml.scores` has 2 entries for 1 tokens"],
    );
    refuses(
        &draft("llama", &a).f32s("tokenizer.ggml.scores", &[f32::NAN]),
        expect!["token 0 has a score that is no number"],
    );
    refuses(
        &draft("gpt2", &a).number("tokenizer.ggml.eos_token_id", 1),
        expect!["`tokenizer.ggml.eos_token_id` is 1, but there are 1 tokens"],
    );
    refuses(&byte_pairs(&a, &["aa"]), expect!["merge 0 (`aa`) is not a pair"]);
    refuses(
        &byte_pairs(&[("a", 1), ("aa", 3)], &["a a"]),
        expect!["merge 0 (`a a`) has a part or a result that is no normal token"],
    );
    let types = Draft::default()
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", &["a"])
        .i32s("tokenizer.ggml.token_type", &[]);
    refuses(&types, expect!["`tokenizer.ggml.token_type` has 0 entries for 1 tokens"]);
}
