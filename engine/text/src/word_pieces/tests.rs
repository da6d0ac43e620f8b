#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::read_encoder;

const TOKENS: [&str; 18] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "hello", "!", "[", "]", "cls",
    "世", "界", "a", "##a", "cafe", "#",
];

fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> =
        TOKENS.iter().enumerate().map(|(id, text)| ((*text).to_owned(), id.into())).collect();
    json!({
        "truncation": { "max_length": 4 },
        "added_tokens": [{ "id": 2, "content": "[CLS]", "special": true }],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing", "single": [
            { "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
            { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }] },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 8, "vocab": vocab },
    })
}

fn config() -> Value {
    json!({ "model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": 1, "hidden_size": 32,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 16,
        "vocab_size": 18, "type_vocab_size": 2, "layer_norm_eps": 1e-12 })
}

fn modules() -> Value {
    json!([
        { "path": "", "type": "sentence_transformers.models.Transformer" },
        { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
        { "path": "2_Normalize", "type": "sentence_transformers.models.Normalize" },
    ])
}

/// A folder, with one value of one file changed.
fn read(change: (&str, &str, Value)) -> Result<(crate::EncoderConfig, WordPieces), String> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    let pooling = json!({ "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true });
    let sentence = json!({ "max_seq_length": 12, "do_lower_case": false });
    for (name, mut value) in [
        ("config.json", config()),
        ("tokenizer.json", tokenizer()),
        ("modules.json", modules()),
        ("1_Pooling/config.json", pooling),
        ("sentence_bert_config.json", sentence),
    ] {
        if name == change.0 {
            *value.pointer_mut(change.1).unwrap() = change.2.clone();
        }
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    read_path(folder.path())
}

fn read_path(folder: &Path) -> Result<(crate::EncoderConfig, WordPieces), String> {
    read_encoder(folder).map_err(|error| error.to_string())
}

fn pieces() -> WordPieces {
    read(("", "", Value::Null)).unwrap().1
}

#[test]
fn words_become_the_longest_pieces() {
    let pieces = pieces();
    for (text, expected) in [
        ("", &[][..]),
        ("   \t\n", &[]),
        ("unaffable", &[1]), // nine letters, and a word has eight at most
        ("unaff", &[4, 5]),
        ("UnAff!!", &[4, 5, 8, 8]),
        ("unaffx hello", &[1, 7]),
        ("hello!hello", &[7, 8, 7]),
        ("[CLS]", &[9, 11, 10]),
        ("世界a", &[12, 13, 14]),
        ("aaa", &[14, 15, 15]),
        ("##a", &[17, 17, 14]),
        ("CAFÉ cafe\u{301}", &[16, 16]),
        ("he\u{ad}l\u{200b}lo\0\u{fffd}\u{feff}", &[7]),
        ("a\u{a0}a\u{3000}a\u{2028}a", &[14, 14, 14, 14]),
    ] {
        assert_eq!(pieces.encode(text), expected, "{text:?}");
    }
}

#[test]
fn a_text_is_framed_once() {
    let pieces = pieces();
    assert_eq!(pieces.framed(&[7, 8]), [2, 7, 8, 3]);
    assert_eq!(pieces.framed(&[2, 7, 3]), [2, 7, 3]);
    assert_eq!(pieces.framed(&[2]), [2, 2, 3]);
    assert_eq!(pieces.framed(&[]), [2, 3]);
    assert_eq!(pieces.decode(&[4, 5, 6, 8, 7, 99]), "unaffable ! hello");
}

#[test]
fn sizes_are_read_and_the_shorter_length_counts() {
    let (config, _) = read(("", "", Value::Null)).unwrap();
    assert_eq!((config.layers, config.width, config.heads, config.inner), (1, 32, 2, 64));
    assert_eq!((config.positions, config.context, config.vocabulary), (16, 12, 18));
    let longer = read(("sentence_bert_config.json", "/max_seq_length", 512.into())).unwrap().0;
    assert_eq!(longer.context, 16);
}

#[test]
fn what_is_not_known_exactly_is_refused_by_name() {
    for (file, at, value, expected) in [
        ("config.json", "/hidden_act", json!("relu"), "`hidden_act` is relu"),
        ("config.json", "/model_type", json!("llama"), "`model_type` is llama"),
        ("config.json", "/num_attention_heads", json!(5), "`hidden_size` is 32"),
        ("config.json", "/vocab_size", json!(17), "vocabulary with 18 tokens"),
        ("config.json", "/hidden_size", json!(0), "`hidden_size` is 0"),
        ("config.json", "/layer_norm_eps", json!(0), "`layer_norm_eps` is 0"),
        ("modules.json", "/2/type", json!("models.Dense"), "modules.json: [\"Transformer\""),
        ("modules.json", "/1/path", json!("../x"), "the path \"../x\""),
        ("1_Pooling/config.json", "/pooling_mode_cls_token", json!(true), "1_Pooling/config.json"),
        ("sentence_bert_config.json", "/do_lower_case", json!(true), "do_lower_case"),
        ("sentence_bert_config.json", "/max_seq_length", json!(2), "`max_seq_length` is 2"),
        ("tokenizer.json", "/model/type", json!("BPE"), "model BPE"),
        ("tokenizer.json", "/normalizer/type", json!("NFC"), "normalizer \"NFC\""),
        ("tokenizer.json", "/pre_tokenizer/type", json!("Whitespace"), "pre_tokenizer"),
        ("tokenizer.json", "/post_processor/single/0", json!({}), "post_processor"),
        ("tokenizer.json", "/model/unk_token", json!("?"), "unk_token ?"),
        ("tokenizer.json", "/model/vocab/cafe", json!(99), "vocabulary with id 99"),
        ("tokenizer.json", "/added_tokens/0/special", json!(false), "added token `[CLS]`"),
    ] {
        let error = read((file, at, value)).unwrap_err();
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(read_path(empty.path()).unwrap_err(), "the model's folder has no config.json");
}

/// A word that is searched long for: every beginning of it is a piece, and its end is none.
#[test]
fn long_words_take_no_long_search() {
    let pieces = pieces();
    let text = "aaaaaaa\u{17f} ".repeat(100_000);
    let began = std::time::Instant::now();
    assert_eq!(pieces.encode(&text).len(), 100_000);
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
