#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};
use serde_json::{Value as Json, json};

use super::*;
use crate::{Control, Tokenizer};

struct Place(tempfile::TempDir);

impl Place {
    fn new(config: &Json, tokenizer: &Json) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("config.json", &config.to_string());
        place.write("tokenizer.json", &tokenizer.to_string());
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self) -> Result<GgufHeader, FolderError> {
        read(self.0.path())
    }
}

fn config() -> Json {
    json!({
        "model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128,
        "max_position_embeddings": 512, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "hidden_act": "silu", "sliding_window": 32,
        "use_sliding_window": false, "vocab_size": 8, "eos_token_id": 5, "bos_token_id": null,
    })
}

fn tokenizer() -> Json {
    let qwen2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    json!({
        "added_tokens": [{ "id": 5, "content": "<|im_end|>", "special": true, "normalized": false },
                         { "id": 6, "content": "<think>", "special": false, "normalized": false }],
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": qwen2 }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
              "use_regex": false }] },
        "post_processor": { "type": "ByteLevel", "add_prefix_space": false },
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4 },
                   "merges": ["a b", ["Ġ", "ab"]] },
    })
}

#[test]
fn a_folder_reads_like_a_file() {
    let place = Place::new(&config(), &tokenizer());
    place.write("chat_template.jinja", "{{ messages }}");
    place.write("generation_config.json", r#"{ "eos_token_id": [5, 0] }"#);
    let header = GgufHeader::read(place.0.path()).unwrap();
    assert_eq!(header.text("general.architecture"), Some("qwen2"));
    assert_eq!(header.number("qwen2.embedding_length"), Some(64));
    assert_eq!(header.float("qwen2.rope.freq_base"), Some(1e6));
    assert_eq!(header.number("qwen2.attention.sliding_window"), None, "it is switched off");
    assert_eq!(header.text("tokenizer.chat_template"), Some("{{ messages }}"));
    let tokenizer = Tokenizer::from_gguf(&header).unwrap();
    assert_eq!(tokenizer.encode("ab ab<think>", Control::Never), [2, 4, 6]);
    assert_eq!(tokenizer.encode("<|im_end|>a", Control::Except(&[])), [5, 0]);
    assert_eq!(tokenizer.vocabulary(), 8, "as many as there are logits");
    assert_eq!(tokenizer.end_tokens(), [0, 5]);
    assert_eq!(tokenizer.bos(), None);
}

fn refuses(change: impl Fn(&mut Json, &mut Json), expected: Expect) {
    let (mut config, mut tokenizer) = (config(), tokenizer());
    change(&mut config, &mut tokenizer);
    expected.assert_eq(&Place::new(&config, &tokenizer).read().unwrap_err().to_string());
}

#[test]
fn what_is_not_known_is_named() {
    refuses(
        |config, _| config["hidden_act"] = "relu".into(),
        expect![[
            r#"config.json: `hidden_act` is "relu": this architecture has another activation here"#
        ]],
    );
    refuses(
        |config, _| config["quantization_config"] = json!({ "bits": 4 }),
        expect![[r#"config.json: `quantization_config` is {"bits":4}: it is not supported"#]],
    );
    refuses(
        |config, _| config["use_sliding_window"] = true.into(),
        expect!["config.json: `use_sliding_window` is true: it is not supported"],
    );
    refuses(
        |config, _| config["hidden_size"] = "wide".into(),
        expect![[r#"config.json: `hidden_size` is "wide": it must be a number"#]],
    );
    refuses(
        |_, tokenizer| tokenizer["model"]["type"] = "WordPiece".into(),
        expect!["tokenizer.json: model WordPiece is not supported: this build knows BPE"],
    );
    refuses(
        |_, tokenizer| tokenizer["pre_tokenizer"] = json!({ "type": "Whitespace" }),
        expect![[
            r#"tokenizer.json: pre_tokenizer {"type":"Whitespace"} is not supported: this build knows those of GPT-2, SmolLM, Llama 3, Qwen2 and Tekken"#
        ]],
    );
    refuses(
        |_, tokenizer| tokenizer["normalizer"] = json!({ "type": "NFKC" }),
        expect![[
            r#"tokenizer.json: normalizer {"type":"NFKC"} is not supported: this build knows none and NFC"#
        ]],
    );
    refuses(
        |_, tokenizer| tokenizer["model"]["ignore_merges"] = true.into(),
        expect![
            "tokenizer.json: ignore_merges true is not supported: models with these words have the other"
        ],
    );
    refuses(
        |_, tokenizer| tokenizer["added_tokens"][0]["rstrip"] = true.into(),
        expect![
            "tokenizer.json: added token `<|im_end|>` that swallows spaces is not supported: tokens are found as they are spelled"
        ],
    );
    refuses(
        |_, tokenizer| tokenizer["post_processor"] = json!({ "type": "BertProcessing" }),
        expect![
            "tokenizer.json: post_processor BertProcessing is not supported: this build knows templates"
        ],
    );
    refuses(
        |_, tokenizer| tokenizer["model"]["vocab"]["c"] = 8.into(),
        expect!["tokenizer.json: vocabulary beyond 8 tokens is not supported: ids are below"],
    );
}

#[test]
fn what_is_missing_or_no_json_is_named() {
    let place = Place::new(&config(), &tokenizer());
    place.write("config.json", "{ \"model_type\": ");
    assert_eq!(place.read().unwrap_err().to_string(), "config.json is not what it should be");
    fs::remove_file(place.0.path().join("config.json")).unwrap();
    assert_eq!(place.read().unwrap_err().to_string(), "the model's folder has no config.json");
}

#[test]
fn scaling_is_translated() {
    let mut config = config();
    config["rope_scaling"] =
        json!({ "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128 });
    let header = Place::new(&config, &tokenizer()).read().unwrap();
    assert_eq!(header.text("qwen2.rope.scaling.type"), Some("yarn"));
    assert_eq!(header.float("qwen2.rope.scaling.factor"), Some(4.0));
    assert_eq!(header.number("qwen2.rope.scaling.original_context_length"), Some(128));
    config["rope_scaling"] =
        json!({ "type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2, 4] });
    config["original_max_position_embeddings"] = 128.into();
    let header = Place::new(&config, &tokenizer()).read().unwrap();
    assert_eq!(header.floats("qwen2.rope.scaling.long_factor"), Some(&[2.0, 4.0][..]));
    assert_eq!(header.float("qwen2.rope.scaling.extension"), Some(4.0));
}

#[test]
fn only_files_that_matter_count() {
    let place = Place::new(&config(), &tokenizer());
    for name in ["model.safetensors", "README.md", "x.bin", "chat_template.jinja"] {
        place.write(name, "");
    }
    for folder in ["onnx.json", "1_Pooling", "2_Normalize", "onnx"] {
        fs::create_dir(place.0.path().join(folder)).unwrap();
    }
    for name in ["1_Pooling/config.json", "1_Pooling/other.json", "onnx/config.json"] {
        place.write(name, "");
    }
    assert_eq!(
        model_files(place.0.path()).unwrap(),
        [
            "1_Pooling/config.json",
            "chat_template.jinja",
            "config.json",
            "model.safetensors",
            "tokenizer.json"
        ]
    );
}

/// Pieces whose list of merges is not SentencePiece's are refused.
#[test]
fn pieces_are_merged_by_what_they_become() {
    let mut config = config();
    config["vocab_size"] = Json::Null;
    let file = |merges: Json| {
        json!({
            "added_tokens": [{ "id": 0, "content": "<bos>", "special": true }],
            "normalizer": { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
            "pre_tokenizer": { "type": "Split", "pattern": { "String": " " },
                               "behavior": "MergedWithPrevious", "invert": false },
            "post_processor": { "type": "TemplateProcessing", "single": [
                { "SpecialToken": { "id": "<bos>", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } }] },
            "model": { "type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "merges": merges,
                "vocab": { "<bos>": 0, "<unk>": 1, "<0xC3>": 2, "<0xA9>": 3, "a": 4, "b": 5, "▁": 6,
                           "ab": 7, "▁a": 8, "▁ab": 9 } },
        })
    };
    let all = json!([["a", "b"], ["▁", "a"], ["▁", "ab"], ["▁a", "b"]]);
    let header = Place::new(&config, &file(all)).read().unwrap();
    let tokenizer = Tokenizer::from_gguf(&header).unwrap();
    assert_eq!(tokenizer.encode("ab ab aé", Control::Never), [7, 9, 8, 2, 3]);
    assert_eq!(tokenizer.bos(), Some(0));
    let refusal = |merges| Place::new(&config, &file(merges)).read().unwrap_err().to_string();
    let fewer = json!([["a", "b"], ["▁", "a"], ["▁", "ab"]]);
    assert!(refusal(fewer).starts_with("tokenizer.json: list of merges for `▁ab`"));
    let mixed = json!([["▁", "ab"], ["a", "b"], ["▁a", "b"], ["▁", "a"]]);
    assert!(refusal(mixed).starts_with("tokenizer.json: order of merges at `▁ab`"));
}
