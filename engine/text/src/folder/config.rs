//! `config.json`: sizes and switches.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::FolderError;
use crate::gguf::Value;

type Entries = HashMap<String, Value>;

/// Settings that GGUF has under another name.
const KEYS: [(&str, &str); 15] = [
    ("num_hidden_layers", "block_count"),
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("max_position_embeddings", "context_length"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("rope_local_base_freq", "rope.freq_base_swa"),
    ("sliding_window", "attention.sliding_window"),
    ("sliding_window_pattern", "attention.sliding_window_pattern"),
    ("query_pre_attn_scalar", "attention.query_scalar"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
];

/// Settings that must say nothing or this.
const NEUTRAL: [(&str, Json); 4] = [
    ("mlp_bias", Json::Bool(false)),
    ("use_sliding_window", Json::Bool(false)),
    ("use_bidirectional_attention", Json::Bool(false)),
    ("quantization_config", Json::Null),
];

/// Sets the keys of the architecture.
pub(super) fn translate(config: &Json, entries: &mut Entries) -> Result<(), FolderError> {
    let family = config["model_type"].as_str().unwrap_or_default();
    let architecture = match family {
        "mistral" => "llama",
        "gemma3_text" => "gemma3",
        "" => return Err(wrong("model_type", &config["model_type"], "it names the architecture")),
        // what is not known is refused by this name where weights are read
        other => other,
    };
    entries.insert("general.architecture".into(), Value::Text(architecture.into()));
    for (key, neutral) in NEUTRAL {
        if !matches!(config.get(key), None | Some(Json::Null)) && config[key] != neutral {
            return Err(wrong(key, &config[key], "it is not supported"));
        }
    }
    // the biases of Qwen2 are always there, and this switch is not theirs
    if architecture != "qwen2" && config["attention_bias"] == Json::Bool(true) {
        let value = &config["attention_bias"];
        return Err(wrong("attention_bias", value, "this architecture has no biases here"));
    }
    check_activation(config, architecture)?;
    let mut keys = Keys { architecture, entries };
    for (key, translated) in KEYS {
        // a window that is switched off
        let is_off = key == "sliding_window" && architecture.starts_with("qwen");
        if !is_off {
            keys.number(translated, key, &config[key])?;
        }
    }
    pattern(config, &mut keys)?;
    rotation(config, &mut keys)
}

/// Sets the ids of the tokens that end an answer.
pub(super) fn end_tokens(
    config: &Json,
    generation: Option<&Json>,
    entries: &mut Entries,
) -> Result<(), FolderError> {
    /// Where GGUF keeps them.
    const KEYS: [&str; 3] = ["eos_token_id", "eot_token_id", "eom_token_id"];
    let configured = generation.map(|one| &one["eos_token_id"]).filter(|ids| !ids.is_null());
    let ids = configured.unwrap_or(&config["eos_token_id"]);
    let list = match ids {
        Json::Array(list) => list.as_slice(),
        Json::Null => &[],
        one => std::slice::from_ref(one),
    };
    if list.len() > KEYS.len() || list.iter().any(|id| id.as_u64().is_none()) {
        return Err(wrong("eos_token_id", ids, "it is up to three ids"));
    }
    for (key, id) in KEYS.iter().zip(list.iter().filter_map(Json::as_u64)) {
        entries.insert(format!("tokenizer.ggml.{key}"), Value::Unsigned(id));
    }
    Ok(())
}

struct Keys<'a> {
    architecture: &'a str,
    entries: &'a mut Entries,
}

impl Keys<'_> {
    fn set(&mut self, key: &str, value: Value) {
        self.entries.insert(format!("{}.{key}", self.architecture), value);
    }

    /// Sets a number, if there is one.
    fn number(&mut self, translated: &str, key: &str, json: &Json) -> Result<(), FolderError> {
        let value = match (json, json.as_u64(), json.as_f64()) {
            (Json::Null, ..) => return Ok(()),
            (_, Some(number), _) => Value::Unsigned(number),
            (_, None, Some(number)) => Value::Float(number),
            _ => return Err(wrong(key, json, "it must be a number")),
        };
        self.set(translated, value);
        Ok(())
    }
}

fn wrong(key: &str, value: &Json, expected: &'static str) -> FolderError {
    FolderError::Config { key: key.to_owned(), value: value.to_string(), expected }
}

fn check_activation(config: &Json, architecture: &str) -> Result<(), FolderError> {
    let (key, expected) = match architecture {
        "gemma3" => ("hidden_activation", "gelu_pytorch_tanh"),
        _ => ("hidden_act", "silu"),
    };
    match &config[key] {
        Json::Null => Ok(()),
        Json::String(name) if name == expected => Ok(()),
        other => Err(wrong(key, other, "this architecture has another activation here")),
    }
}

/// Which layers see a window, where the file lists them.
fn pattern(config: &Json, keys: &mut Keys<'_>) -> Result<(), FolderError> {
    let Some(kinds) = config["layer_types"].as_array() else { return Ok(()) };
    let is_full = |kind: &Json| kind == "full_attention";
    if kinds.iter().all(is_full) {
        keys.entries.remove(&format!("{}.attention.sliding_window", keys.architecture));
        return Ok(());
    }
    let expected = "one of so many layers must see everything, the last of each so many";
    if kinds.iter().all(|kind| kind == "sliding_attention") && keys.architecture != "gemma3" {
        return Ok(());
    }
    let every = kinds.iter().position(is_full).map_or(kinds.len() + 1, |first| first + 1);
    let fits = |(layer, kind)| is_full(kind) == usize::is_multiple_of(layer + 1, every);
    if keys.architecture != "gemma3" || !kinds.iter().enumerate().all(fits) {
        return Err(wrong("layer_types", &config["layer_types"], expected));
    }
    keys.set("attention.sliding_window_pattern", Value::Unsigned(every as u64));
    Ok(())
}

/// How positions are turned. A context without an original one is the original one.
fn rotation(config: &Json, keys: &mut Keys<'_>) -> Result<(), FolderError> {
    if let Some(part) = config["partial_rotary_factor"].as_f64().filter(|part| *part != 1.0) {
        let count = |key: &str| config[key].as_f64().unwrap_or(0.0);
        let head = match config["head_dim"].as_f64() {
            Some(head) => head,
            None => count("hidden_size") / count("num_attention_heads"),
        };
        keys.set("rope.dimension_count", Value::Unsigned((head * part) as u64));
    }
    let newer = &config["rope_parameters"];
    if newer.get("full_attention").is_some() || newer.get("sliding_attention").is_some() {
        return Err(wrong("rope_parameters", newer, "one for each kind of layer is not supported"));
    }
    let scaling = if newer.is_null() { &config["rope_scaling"] } else { newer };
    if scaling.is_null() {
        return Ok(());
    }
    keys.number("rope.freq_base", "rope_theta", &scaling["rope_theta"])?;
    let kind = scaling["rope_type"].as_str().or(scaling["type"].as_str()).unwrap_or_default();
    let kind = if kind == "su" { "longrope" } else { kind };
    keys.set("rope.scaling.type", Value::Text(kind.into()));
    let trained = &config["max_position_embeddings"];
    let key = "original_max_position_embeddings";
    let given = [&scaling[key], &config[key], trained];
    let original = given.into_iter().find(|value| !value.is_null()).unwrap_or(trained);
    if let (Some(longest), Some(original)) = (trained.as_f64(), original.as_f64()) {
        keys.set("rope.scaling.extension", Value::Float(longest / original));
    }
    for (translated, key, value) in [
        ("factor", "factor", &scaling["factor"]),
        ("low_freq_factor", "low_freq_factor", &scaling["low_freq_factor"]),
        ("high_freq_factor", "high_freq_factor", &scaling["high_freq_factor"]),
        ("attention_factor", "attention_factor", &scaling["attention_factor"]),
        ("yarn_beta_fast", "beta_fast", &scaling["beta_fast"]),
        ("yarn_beta_slow", "beta_slow", &scaling["beta_slow"]),
        ("original_context_length", "original_max_position_embeddings", original),
    ] {
        keys.number(&format!("rope.scaling.{translated}"), key, value)?;
    }
    for key in ["mscale", "mscale_all_dim", "truncate"] {
        if !matches!(scaling[key], Json::Null | Json::Bool(true)) {
            return Err(wrong(
                &format!("rope_scaling.{key}"),
                &scaling[key],
                "it is not supported",
            ));
        }
    }
    factors(scaling, keys)
}

/// LongRoPE's two lists.
fn factors(scaling: &Json, keys: &mut Keys<'_>) -> Result<(), FolderError> {
    for list in ["long_factor", "short_factor"] {
        if let Some(numbers) = scaling[list].as_array() {
            let numbers = numbers.iter().map(|x| x.as_f64().map(|x| x as f32));
            let numbers: Option<Vec<f32>> = numbers.collect();
            let numbers = numbers.ok_or_else(|| {
                wrong(&format!("rope_scaling.{list}"), &scaling[list], "it is a list of numbers")
            })?;
            keys.set(&format!("rope.scaling.{list}"), Value::Floats(numbers));
        }
    }
    Ok(())
}
