//! A sentence-embedding model as sentence-transformers publishes it: a BERT, a pooling, a norm.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{FolderError, read_if_any, read_json};

/// Sizes of an encoder (BERT, arXiv 1810.04805), whose vectors are the normalized means of its last layer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EncoderConfig {
    /// Layers.
    pub layers: usize,
    /// Width of a row, and of an embedding.
    pub width: usize,
    /// Heads, of `width / heads` each.
    pub heads: usize,
    /// Width between the two halves of a feed-forward layer.
    pub inner: usize,
    /// Rows of the table of positions.
    pub positions: usize,
    /// Longest input in tokens, the two that frame it included: what the model's makers measured it with
    /// (`max_seq_length`), which may be shorter than the table of positions.
    pub context: u32,
    /// Rows of the table of tokens.
    pub vocabulary: usize,
    /// Rows of the table of segments, of which the first is used.
    pub segments: usize,
    /// What is added to a variance.
    pub epsilon: f32,
}

/// `config.json`, as far as it matters.
#[derive(Deserialize)]
struct Bert {
    model_type: String,
    hidden_act: String,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The largest size that is no mistake.
const SIZE_MAX: usize = 1 << 22;

impl EncoderConfig {
    /// Reads `config.json`, `modules.json` and what these name.
    pub(super) fn read(folder: &Path) -> Result<Self, FolderError> {
        let bert: Bert = read_json(folder, "config.json")?;
        check_bert(&bert)?;
        check_modules(folder)?;
        let sentence: Json = read_if_any(folder, "sentence_bert_config.json")?.unwrap_or_default();
        if sentence["do_lower_case"] == Json::Bool(true) {
            let found = "do_lower_case: true".to_owned();
            let expected = "the tokenizer alone decides about letters";
            let file = "sentence_bert_config.json".to_owned();
            return Err(FolderError::Module { file, found, expected });
        }
        let measured = sentence["max_seq_length"].as_u64().unwrap_or(u64::MAX);
        let context = measured.min(bert.max_position_embeddings as u64) as u32;
        // two of them are the frame
        if context < 3 {
            let expected = "it leaves no room for a token";
            return Err(wrong("max_seq_length", context, expected));
        }
        Ok(Self {
            layers: bert.num_hidden_layers,
            width: bert.hidden_size,
            heads: bert.num_attention_heads,
            inner: bert.intermediate_size,
            positions: bert.max_position_embeddings,
            context,
            vocabulary: bert.vocab_size,
            segments: bert.type_vocab_size,
            epsilon: bert.layer_norm_eps as f32,
        })
    }
}

fn wrong(key: &str, value: impl ToString, expected: &'static str) -> FolderError {
    FolderError::Config { key: key.to_owned(), value: value.to_string(), expected }
}

fn check_bert(bert: &Bert) -> Result<(), FolderError> {
    for (key, value, expected) in [
        ("model_type", bert.model_type.as_str(), "bert"),
        ("hidden_act", &bert.hidden_act, "gelu"),
        (
            "position_embedding_type",
            bert.position_embedding_type.as_deref().unwrap_or("absolute"),
            "absolute",
        ),
    ] {
        if value != expected {
            return Err(wrong(
                key,
                value,
                "embeddings are made by a bert with gelu and absolute positions",
            ));
        }
    }
    if bert.is_decoder {
        return Err(wrong("is_decoder", true, "an encoder sees the whole text"));
    }
    for (key, size) in [
        ("num_hidden_layers", bert.num_hidden_layers),
        ("hidden_size", bert.hidden_size),
        ("num_attention_heads", bert.num_attention_heads),
        ("intermediate_size", bert.intermediate_size),
        ("max_position_embeddings", bert.max_position_embeddings),
        ("vocab_size", bert.vocab_size),
        ("type_vocab_size", bert.type_vocab_size),
    ] {
        if size == 0 || size > SIZE_MAX {
            return Err(wrong(key, size, "it is 0 or beyond all reason"));
        }
    }
    if !bert.hidden_size.is_multiple_of(bert.num_attention_heads) {
        return Err(wrong("hidden_size", bert.hidden_size, "heads share it evenly"));
    }
    if !(1e-30..1.0).contains(&bert.layer_norm_eps) {
        return Err(wrong("layer_norm_eps", bert.layer_norm_eps, "it is a small positive number"));
    }
    Ok(())
}

/// A transformer, the mean of its rows, and a norm: nothing else is done here.
fn check_modules(folder: &Path) -> Result<(), FolderError> {
    let modules: Vec<Module> = read_json(folder, "modules.json")?;
    let kinds: Vec<&str> =
        modules.iter().map(|module| module.kind.rsplit('.').next().unwrap_or_default()).collect();
    if kinds != ["Transformer", "Pooling", "Normalize"] || !modules[0].path.is_empty() {
        let (file, found) = ("modules.json".to_owned(), format!("{kinds:?}"));
        let expected = "an embedding is the normalized mean of a transformer's rows";
        return Err(FolderError::Module { file, found, expected });
    }
    // its path is what a digest covers, and nothing else is read
    const FILE: &str = "1_Pooling/config.json";
    if modules[1].path != "1_Pooling" {
        let (file, found) = ("modules.json".to_owned(), format!("the path {:?}", modules[1].path));
        return Err(FolderError::Module { file, found, expected: "it is 1_Pooling" });
    }
    let pooling: serde_json::Map<String, Json> = read_json(folder, FILE)?;
    let is_mode = |(key, on): &(&String, &Json)| key.starts_with("pooling_mode_") && **on == true;
    let modes: Vec<&str> = pooling.iter().filter(is_mode).map(|(mode, _)| mode.as_str()).collect();
    if modes != ["pooling_mode_mean_tokens"] {
        let (file, found) = (FILE.to_owned(), format!("{modes:?}"));
        let expected = "rows are pooled by their mean";
        return Err(FolderError::Module { file, found, expected });
    }
    Ok(())
}
