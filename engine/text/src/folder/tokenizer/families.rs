//! Which of the known pipelines a file describes.

use serde_json::{Value as Json, json};

use super::{TokenizerFile, refused};
use crate::folder::FolderError;

/// A pipeline that is known exactly.
pub(super) enum Family {
    /// Pairs of bytes, within words.
    Bytes {
        /// The rule that cuts words, by GGUF's name.
        rule: &'static str,
        /// Text is brought into the composed form (NFC) first.
        is_composed: bool,
    },
    /// Pairs of characters, with bytes for those without a token.
    Pieces {
        /// A space is put before text.
        adds_space: bool,
    },
}

/// What follows the words' own part in the patterns of Llama 3 and Qwen2.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
const REST: &str = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

impl Family {
    pub(super) fn of(file: &TokenizerFile) -> Result<Self, FolderError> {
        if file.model.byte_fallback { pieces(file) } else { bytes(file) }
    }
}

fn bytes(file: &TokenizerFile) -> Result<Family, FolderError> {
    let Some(rule) = rule(&file.pre_tokenizer) else {
        let expected = "this build knows those of GPT-2, SmolLM, Llama 3, Qwen2 and Tekken";
        return Err(refused("pre_tokenizer", &file.pre_tokenizer, expected));
    };
    let keeps_words = matches!(rule, "llama-bpe" | "tekken");
    if file.model.ignore_merges != keeps_words {
        let found = file.model.ignore_merges;
        return Err(refused("ignore_merges", found, "models with these words have the other"));
    }
    let is_composed = match &file.normalizer {
        Json::Null => false,
        form if form["type"] == "NFC" => true,
        other => return Err(refused("normalizer", other, "this build knows none and NFC")),
    };
    Ok(Family::Bytes { rule, is_composed })
}

fn rule(pre: &Json) -> Option<&'static str> {
    let is_byte_level = |step: &Json, cuts: bool| {
        let is_plain = step["add_prefix_space"] == false;
        step["type"] == "ByteLevel"
            && is_plain
            && step["use_regex"].as_bool().unwrap_or(true) == cuts
    };
    if is_byte_level(pre, true) {
        return Some("gpt-2");
    }
    let [first, second] = pre["pretokenizers"].as_array()?.as_slice() else { return None };
    if pre["type"] != "Sequence" {
        return None;
    }
    let digits = json!({ "type": "Digits", "individual_digits": true });
    if *first == digits && is_byte_level(second, true) {
        return Some("smollm");
    }
    let is_split = first["type"] == "Split"
        && first["behavior"] == "Isolated"
        && first["invert"].as_bool() != Some(true);
    if !is_split || !is_byte_level(second, false) {
        return None;
    }
    let pattern = first["pattern"]["Regex"].as_str()?;
    if pattern == TEKKEN {
        return Some("tekken");
    }
    match pattern.strip_prefix(WORDS)?.strip_suffix(REST)? {
        r"\p{N}{1,3}" => Some("llama-bpe"),
        r"\p{N}" => Some("qwen2"),
        _ => None,
    }
}

fn pieces(file: &TokenizerFile) -> Result<Family, FolderError> {
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let prepend = json!({ "type": "Prepend", "prepend": "▁" });
    let both = json!({ "type": "Sequence", "normalizers": [prepend, replace] });
    let adds_space = match &file.normalizer {
        normalizer if *normalizer == both => true,
        normalizer if *normalizer == replace => false,
        other => {
            let expected = "this build knows spaces as `▁`, with or without one put first";
            return Err(refused("normalizer", other, expected));
        }
    };
    // Gemma's splits at spaces, of which none are left by then
    let after = json!({ "type": "Split", "pattern": { "String": " " },
                        "behavior": "MergedWithPrevious", "invert": false });
    if !file.pre_tokenizer.is_null() && file.pre_tokenizer != after {
        let expected = "this build knows none here";
        return Err(refused("pre_tokenizer", &file.pre_tokenizer, expected));
    }
    if file.model.ignore_merges {
        return Err(refused("ignore_merges", true, "models with byte fallback merge"));
    }
    Ok(Family::Pieces { adds_space })
}

/// The token that a text begins with.
pub(super) fn begin(processor: &Json) -> Result<Option<String>, FolderError> {
    match processor["type"].as_str() {
        None | Some("ByteLevel") => Ok(None),
        Some("Sequence") => {
            let all = processor["processors"].as_array().into_iter().flatten();
            let found: Result<Vec<_>, _> = all.map(begin).collect();
            Ok(found?.into_iter().flatten().next())
        }
        Some("TemplateProcessing") => {
            let kinds = processor["single"].as_array().map_or(&[][..], Vec::as_slice);
            match kinds {
                [text] if text.get("Sequence").is_some() => Ok(None),
                [token, text] if text.get("Sequence").is_some() => {
                    Ok(token["SpecialToken"]["id"].as_str().map(str::to_owned))
                }
                _ => {
                    let expected = "this build knows a token at the beginning, or none";
                    Err(refused("post_processor", &processor["single"], expected))
                }
            }
        }
        Some(other) => Err(refused("post_processor", other, "this build knows templates")),
    }
}
