//! `tokenizer.json`: two families of it, byte-level pairs and SentencePiece's pairs.

mod families;
mod ranks;

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::FolderError;
use crate::gguf::Value;
use families::Family;

/// Types of tokens in GGUF.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;
const BYTE: i64 = 6;

/// The most tokens; what metadata arrays of GGUF may have.
const TOKENS_MAX: u64 = 1 << 22;

/// The file, as far as it matters.
#[derive(Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    model: Pairs,
}

#[derive(Deserialize)]
struct Added {
    id: u64,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    special: bool,
}

#[derive(Deserialize)]
struct Pairs {
    /// Absent in old files, where it can only be this one.
    #[serde(rename = "type", default = "Pairs::kind")]
    kind: String,
    vocab: HashMap<String, u64>,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    unk_token: Option<String>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// Old files write `"a b"`, new ones `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Spaced(String),
    Pair(String, String),
}

impl Pairs {
    fn kind() -> String {
        "BPE".to_owned()
    }
}

impl Merge {
    fn parts(&self) -> Result<(&str, &str), FolderError> {
        match self {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Spaced(text) => {
                text.split_once(' ').ok_or_else(|| refused("merge", text, "it is no pair"))
            }
        }
    }
}

fn refused(part: &'static str, found: impl ToString, expected: &'static str) -> FolderError {
    FolderError::Tokenizer { part, found: found.to_string(), expected }
}

/// Sets the keys of the tokenizer.
pub(super) fn translate(
    file: TokenizerFile,
    config: &Json,
    entries: &mut HashMap<String, Value>,
) -> Result<(), FolderError> {
    check_model(&file.model)?;
    let family = Family::of(&file)?;
    let Tokens { texts, types } = tokens(&file, config["vocab_size"].as_u64())?;
    let mut set = |key: &str, value| entries.insert(format!("tokenizer.ggml.{key}"), value);
    match &family {
        Family::Bytes { rule, .. } => {
            let merges = file
                .model
                .merges
                .iter()
                .map(|merge| merge.parts().map(|(left, right)| format!("{left} {right}")));
            set("model", Value::Text("gpt2".into()));
            set("pre", Value::Text((*rule).into()));
            set("merges", Value::Texts(merges.collect::<Result<_, _>>()?));
        }
        Family::Pieces { adds_space } => {
            set("model", Value::Text("llama".into()));
            set("scores", Value::Floats(ranks::scores(&file.model, &texts)?));
            set("add_space_prefix", Value::Bool(*adds_space));
        }
    }
    if let Family::Bytes { is_composed: true, .. } = family {
        set("normal_form", Value::Text("nfc".into()));
    }
    let id_of = |text: &str| texts.iter().position(|other| other == text).map(|id| id as u64);
    let begin = families::begin(&file.post_processor)?;
    set("add_bos_token", Value::Bool(begin.is_some()));
    let begin = begin.and_then(|text| id_of(&text)).or(config["bos_token_id"].as_u64());
    if let Some(id) = begin {
        set("bos_token_id", Value::Unsigned(id));
    }
    if let Some(id) = file.model.unk_token.as_deref().and_then(id_of) {
        set("unknown_token_id", Value::Unsigned(id));
    }
    set("tokens", Value::Texts(texts));
    set("token_type", Value::Integers(types));
    Ok(())
}

fn check_model(model: &Pairs) -> Result<(), FolderError> {
    if model.kind != "BPE" {
        return Err(refused("model", &model.kind, "this build knows BPE"));
    }
    if model.dropout.is_some_and(|share| share != 0.0) {
        return Err(refused("dropout", "of merges", "it makes ids a matter of chance"));
    }
    for affix in [&model.continuing_subword_prefix, &model.end_of_word_suffix] {
        if let Some(affix) = affix.as_ref().filter(|affix| !affix.is_empty()) {
            return Err(refused("affix of words", affix, "this build knows none"));
        }
    }
    Ok(())
}

/// Texts and types by id.
struct Tokens {
    texts: Vec<String>,
    types: Vec<i64>,
}

/// As many as the model has logits, where it says how many: the rest of them is never drawn, and added
/// tokens beyond them have no embedding.
fn tokens(file: &TokenizerFile, logits: Option<u64>) -> Result<Tokens, FolderError> {
    let model = &file.model;
    let ids = model.vocab.values().chain(file.added_tokens.iter().map(|added| &added.id));
    let count = logits.unwrap_or_else(|| ids.max().map_or(0, |last| last + 1));
    if count > TOKENS_MAX || model.vocab.values().any(|id| *id >= count) {
        return Err(refused("vocabulary", format!("beyond {count} tokens"), "ids are below"));
    }
    let mut texts = vec![String::new(); count as usize];
    let mut types = vec![UNUSED; count as usize];
    for (text, id) in &model.vocab {
        let id = *id as usize;
        let is_byte = model.byte_fallback && is_byte(text);
        texts[id].clone_from(text);
        types[id] = if is_byte { BYTE } else { NORMAL };
        if model.unk_token.as_ref() == Some(text) {
            types[id] = UNKNOWN;
        }
    }
    for added in file.added_tokens.iter().filter(|added| added.id < count) {
        check_added(added, &file.normalizer)?;
        let id = added.id as usize;
        texts[id].clone_from(&added.content);
        if types[id] != UNKNOWN {
            types[id] = if added.special { CONTROL } else { USER_DEFINED };
        }
    }
    Ok(Tokens { texts, types })
}

fn check_added(added: &Added, normalizer: &Json) -> Result<(), FolderError> {
    let rule = match added {
        Added { single_word: true, .. } => Some("that must be a word of its own"),
        Added { lstrip: true, .. } | Added { rstrip: true, .. } => Some("that swallows spaces"),
        // it would be looked for in text that has been rewritten
        Added { normalized: true, content, .. }
            if !normalizer.is_null() && (content.contains(' ') || !content.is_ascii()) =>
        {
            Some("that is searched for in rewritten text")
        }
        _ => None,
    };
    let Some(rule) = rule else { return Ok(()) };
    let found = format!("`{}` {rule}", added.content);
    Err(refused("added token", found, "tokens are found as they are spelled"))
}

fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}
