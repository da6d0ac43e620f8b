//! The same models as folders of safetensors, as their makers would publish them.

use std::fmt::Write;
use std::io;
use std::path::Path;

use half::{bf16, f16};

use crate::{Architecture, MERGES, SPECIAL, TinyModel, TinyTensor, Value, vocabulary};

/// A type of floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are those of safetensors")]
pub enum FloatType {
    F32,
    F16,
    BF16,
}

impl FloatType {
    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            Self::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        }
    }
}

impl TinyModel {
    /// Writes `config.json`, `tokenizer.json` and the weights, in so many shards. `settings` are more
    /// of `config.json`, each `"key": value`.
    pub fn write_folder(
        &self,
        folder: &Path,
        floats: FloatType,
        shards: usize,
        settings: &[&str],
    ) -> io::Result<()> {
        std::fs::write(folder.join("config.json"), self.config(settings))?;
        std::fs::write(folder.join("tokenizer.json"), tokenizer())?;
        let tensors = self.published_tensors();
        if shards == 1 {
            return std::fs::write(folder.join("model.safetensors"), shard(&tensors, floats));
        }
        let mut map = String::new();
        for (number, tensors) in tensors.chunks(tensors.len().div_ceil(shards)).enumerate() {
            let name = format!("model-{:05}-of-{shards:05}.safetensors", number + 1);
            std::fs::write(folder.join(&name), shard(tensors, floats))?;
            for tensor in tensors {
                let _ = write!(map, "\"{}\": \"{name}\",", tensor.name);
            }
        }
        let map = map.trim_end_matches(',');
        let index = format!("{{\"metadata\": {{}}, \"weight_map\": {{{map}}}}}");
        std::fs::write(folder.join("model.safetensors.index.json"), index)
    }

    fn config(&self, settings: &[&str]) -> String {
        let family = match self.architecture {
            Architecture::Gemma3 => "gemma3_text",
            other => other.name(),
        };
        let mut fields = vec![
            format!("\"model_type\": \"{family}\""),
            format!("\"num_hidden_layers\": {}", self.layers),
            format!("\"hidden_size\": {}", self.width),
            format!("\"intermediate_size\": {}", self.feed_forward),
            format!("\"max_position_embeddings\": {}", self.context),
            format!("\"num_attention_heads\": {}", self.heads),
            format!("\"num_key_value_heads\": {}", self.kv_heads),
            format!("\"head_dim\": {}", self.head()),
            format!("\"vocab_size\": {}", self.vocabulary()),
            "\"rms_norm_eps\": 1e-5, \"eos_token_id\": 2, \"bos_token_id\": 1".to_owned(),
        ];
        let has_base = self.metadata.iter().any(|(key, _)| *key == "rope.freq_base");
        if !has_base {
            fields.push("\"rope_theta\": 10000.0".to_owned());
        }
        for (key, value) in &self.metadata {
            let name = match *key {
                "rope.freq_base" => "rope_theta",
                "attention.sliding_window" => "sliding_window",
                "attention.sliding_window_pattern" => "sliding_window_pattern",
                other => other,
            };
            match value {
                Value::U32(number) => fields.push(format!("\"{name}\": {number}")),
                Value::F32(number) => fields.push(format!("\"{name}\": {number:?}")),
                other => panic!("{other:?} has no place in config.json"),
            }
        }
        fields.extend(settings.iter().map(|setting| (*setting).to_owned()));
        format!("{{{}}}", fields.join(", "))
    }
}

pub(crate) fn shard(tensors: &[TinyTensor], floats: FloatType) -> Vec<u8> {
    let (mut header, mut content) = (String::from("{"), Vec::new());
    for TinyTensor { name, shape, values } in tensors {
        let start = content.len();
        content.extend(floats.encode(values));
        let end = content.len();
        let shape: Vec<&u32> = shape.iter().rev().collect();
        let comma = if start == 0 { "" } else { "," };
        let _ = write!(
            header,
            "{comma}\"{name}\":{{\"dtype\":\"{floats:?}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        );
    }
    header.push('}');
    // the content begins at a multiple of eight
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &content].concat()
}

/// The vocabulary of the GGUF files, in the pipeline of SmolLM2.
fn tokenizer() -> String {
    let text = |text: &str| format!("{text:?}");
    let added: Vec<String> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            format!("{{\"id\": {id}, \"content\": {}, \"special\": true}}", text(content))
        })
        .collect();
    let vocabulary: Vec<String> = vocabulary()
        .iter()
        .enumerate()
        .map(|(id, token)| {
            // JSON spells a letter beyond ASCII as it is
            let escaped = token.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\": {id}")
        })
        .collect();
    let merges: Vec<String> = MERGES.iter().map(|merge| format!("\"{merge}\"")).collect();
    format!(
        "{{\"added_tokens\": [{}], \"normalizer\": null, \"post_processor\": null, \
         \"pre_tokenizer\": {{\"type\": \"Sequence\", \"pretokenizers\": [\
         {{\"type\": \"Digits\", \"individual_digits\": true}}, \
         {{\"type\": \"ByteLevel\", \"add_prefix_space\": false}}]}}, \
         \"model\": {{\"type\": \"BPE\", \"vocab\": {{{}}}, \"merges\": [{}]}}}}",
        added.join(", "),
        vocabulary.join(", "),
        merges.join(", ")
    )
}
