//! `tokenizer.json` of a BERT: word pieces.
//!
//! Its `truncation` and `padding` are for training, and are left out: nothing of a text is dropped in
//! silence here.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::FolderError;
use crate::word_pieces::{Normal, Parts, WordPieces};

/// The most tokens.
const TOKENS_MAX: u32 = 1 << 22;

/// The file, as far as it matters.
#[derive(Deserialize)]
pub(super) struct WordPieceFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    vocab: HashMap<String, u32>,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
}

fn refused(part: &'static str, found: impl ToString, expected: &'static str) -> FolderError {
    FolderError::Tokenizer { part, found: found.to_string(), expected }
}

/// Checks the file against what is implemented.
pub(super) fn build(file: WordPieceFile) -> Result<WordPieces, FolderError> {
    let model = &file.model;
    if model.kind != "WordPiece" {
        return Err(refused("model", &model.kind, "a model that embeds has word pieces"));
    }
    for (part, value, kind) in [
        ("normalizer", &file.normalizer, "BertNormalizer"),
        ("pre_tokenizer", &file.pre_tokenizer, "BertPreTokenizer"),
    ] {
        if value["type"] != kind {
            return Err(refused(part, &value["type"], "word pieces come with those of BERT"));
        }
    }
    // special tokens are never read in a text; any other one would have to be
    if let Some(added) = file.added_tokens.iter().find(|added| !added.special) {
        return Err(refused("added token", format!("`{}`", added.content), "all are special"));
    }
    let tokens = texts(&model.vocab)?;
    let id = |text: &str| model.vocab.get(text).copied();
    let unknown = id(&model.unk_token)
        .ok_or_else(|| refused("unk_token", &model.unk_token, "it is in the vocabulary"))?;
    let (first, last) = frame(&file.post_processor, id)?;
    Ok(WordPieces::new(Parts {
        tokens,
        prefix: model.continuing_subword_prefix.clone(),
        unknown,
        frame: (first, last),
        word_chars_max: model.max_input_chars_per_word,
        normal: normal(&file.normalizer),
    }))
}

fn normal(normalizer: &Json) -> Normal {
    let flag = |key: &str| normalizer[key].as_bool();
    let lowercase = flag("lowercase").unwrap_or(true);
    Normal {
        clean: flag("clean_text").unwrap_or(true),
        ideographs_apart: flag("handle_chinese_chars").unwrap_or(true),
        strip_accents: flag("strip_accents").unwrap_or(lowercase),
        lowercase,
    }
}

/// Texts by id: every id from 0 on, once.
fn texts(vocab: &HashMap<String, u32>) -> Result<Vec<String>, FolderError> {
    let mut texts = vec![None; vocab.len()];
    for (text, id) in vocab {
        match texts.get_mut(*id as usize) {
            Some(place @ None) if *id < TOKENS_MAX => *place = Some(text.clone()),
            _ => return Err(refused("vocabulary", format!("with id {id}"), "ids have no gaps")),
        }
    }
    Ok(texts.into_iter().flatten().collect())
}

/// The ids before and after a text.
fn frame(
    post_processor: &Json,
    id: impl Fn(&str) -> Option<u32>,
) -> Result<(u32, u32), FolderError> {
    let expected = "a text has one token of its own before it and one after it";
    let refuse = || refused("post_processor", post_processor, expected);
    let names = match post_processor["type"].as_str() {
        Some("TemplateProcessing") => {
            match post_processor["single"].as_array().map(Vec::as_slice) {
                Some([first, text, last]) if text["Sequence"]["id"] == "A" => {
                    [first["SpecialToken"]["id"].as_str(), last["SpecialToken"]["id"].as_str()]
                }
                _ => return Err(refuse()),
            }
        }
        Some("BertProcessing") => {
            [post_processor["cls"][0].as_str(), post_processor["sep"][0].as_str()]
        }
        _ => return Err(refuse()),
    };
    let ids = names.map(|name| name.and_then(&id));
    match ids {
        [Some(first), Some(last)] => Ok((first, last)),
        _ => Err(refuse()),
    }
}
