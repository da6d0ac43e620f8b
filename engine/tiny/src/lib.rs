//! Tiny models with random weights, of every architecture, written as GGUF files.
//!
//! Property and fault tests run on it: it loads in milliseconds, and since its weights are a
//! pure function of a seed, two tests that name the same seed speak of the same model. It is
//! a dependency of tests only.

mod architecture;
mod blocks;
mod encoder;
mod folder;
mod gguf;

use std::io;
use std::path::Path;

pub use architecture::{Architecture, TinyTensor};
pub use blocks::WeightType;
pub use encoder::TinyEncoder;
pub use folder::FloatType;
pub use gguf::Value;
use gguf::Writer;

/// What the model looks like. Every width is a multiple of 32, so that any type fits.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// Its family.
    pub architecture: Architecture,
    /// Seed of the weights.
    pub seed: u64,
    /// Number of layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of a head, where it is not the width over the heads.
    pub head_width: Option<u32>,
    /// Width of the feed-forward layer.
    pub feed_forward: u32,
    /// Longest sequence in tokens.
    pub context: u32,
    /// Type of the matrices in the layers.
    pub weights: WeightType,
    /// Type of the token embedding, and of the head.
    pub embedding: WeightType,
    /// Whether the embedding is also the head.
    pub is_tied: bool,
    /// More metadata, by keys without the architecture.
    pub metadata: Vec<(&'static str, Value)>,
    /// More tensors of one dimension.
    pub vectors: Vec<(&'static str, Vec<f32>)>,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            architecture: Architecture::Llama,
            seed: 1,
            layers: 2,
            width: 64,
            heads: 4,
            kv_heads: 2,
            head_width: None,
            feed_forward: 128,
            context: 1024,
            weights: WeightType::Q4_1,
            embedding: WeightType::Q8_0,
            is_tied: true,
            metadata: Vec::new(),
            vectors: Vec::new(),
        }
    }
}

/// ChatML, as SmolLM2 has it.
pub const CHAT_TEMPLATE: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] \
     + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt \
     %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Special tokens, first in the vocabulary: the end of text is 0, the end of a turn is 2.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Pairs that are merged, in GPT-2's byte alphabet (`Ġ` is a space).
const MERGES: [&str; 8] = ["Ġ t", "h e", "Ġt he", "i n", "e r", "a n", "an d", "Ġ and"];

impl TinyModel {
    /// Writes the file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.to_bytes())
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary(&self) -> u32 {
        vocabulary().len() as u32
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.describe(&mut writer);
        describe_tokenizer(&mut writer);
        self.fill(&mut writer);
        writer.finish()
    }

    /// Width of a head.
    fn head(&self) -> u32 {
        self.head_width.unwrap_or(self.width / self.heads)
    }

    fn describe(&self, writer: &mut Writer) {
        let family = self.architecture.name();
        writer.set("general.architecture", Value::Text(family.into()));
        writer.set("general.name", Value::Text("tiny".into()));
        writer.set("general.alignment", Value::U32(gguf::ALIGNMENT as u32));
        for (key, value) in [
            ("block_count", self.layers),
            ("context_length", self.context),
            ("embedding_length", self.width),
            ("feed_forward_length", self.feed_forward),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("rope.dimension_count", self.head()),
            ("vocab_size", self.vocabulary()),
        ] {
            if !self.metadata.iter().any(|(other, _)| *other == key) {
                writer.set(&format!("{family}.{key}"), Value::U32(value));
            }
        }
        if let Some(head_width) = self.head_width {
            writer.set(&format!("{family}.attention.key_length"), Value::U32(head_width));
            writer.set(&format!("{family}.attention.value_length"), Value::U32(head_width));
        }
        let epsilon = format!("{family}.attention.layer_norm_rms_epsilon");
        writer.set(&epsilon, Value::F32(1e-5));
        if !self.metadata.iter().any(|(key, _)| *key == "rope.freq_base") {
            writer.set(&format!("{family}.rope.freq_base"), Value::F32(10_000.0));
        }
        for (key, value) in &self.metadata {
            writer.set(&format!("{family}.{key}"), value.clone());
        }
    }

    fn fill(&self, writer: &mut Writer) {
        for TinyTensor { name, shape, values } in self.tensors() {
            let kind = match name.as_str() {
                _ if shape.len() == 1 => WeightType::F32,
                "token_embd.weight" | "output.weight" => self.embedding,
                _ => self.weights,
            };
            writer.tensor(&name, &shape, kind, &values);
        }
        for (name, values) in &self.vectors {
            writer.tensor(name, &[values.len() as u32], WeightType::F32, values);
        }
    }
}

fn describe_tokenizer(writer: &mut Writer) {
    let tokens = vocabulary();
    // 3 is "control", 1 is "normal" in GGUF's token types
    let types = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3 } else { 1 }).collect();
    writer.set("tokenizer.ggml.model", Value::Text("gpt2".into()));
    writer.set("tokenizer.ggml.pre", Value::Text("smollm".into()));
    writer.set("tokenizer.ggml.tokens", Value::Texts(tokens));
    writer.set("tokenizer.ggml.token_type", Value::I32s(types));
    let merges = MERGES.iter().map(|merge| merge.to_string()).collect();
    writer.set("tokenizer.ggml.merges", Value::Texts(merges));
    writer.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    writer.set("tokenizer.ggml.eos_token_id", Value::U32(2));
    writer.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    writer.set("tokenizer.chat_template", Value::Text(CHAT_TEMPLATE.into()));
}

fn vocabulary() -> Vec<String> {
    let special = SPECIAL.iter().map(|token| token.to_string());
    let bytes = (0..=255u8).map(|byte| byte_letter(byte).to_string());
    let merged = MERGES.iter().map(|merge| merge.replace(' ', ""));
    special.chain(bytes).chain(merged).collect()
}

/// GPT-2's printable letter for a byte (`bytes_to_unicode` in openai/gpt-2's encoder.py).
fn byte_letter(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return byte as char;
    }
    let hidden_before = (0..byte).filter(|other| !printable(*other)).count() as u32;
    char::from_u32(256 + hidden_before).expect("256 to 323 are letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_function_of_its_seed() {
        let bytes = TinyModel::default().to_bytes();
        assert!(bytes.starts_with(b"GGUF"));
        assert_eq!(bytes, TinyModel::default().to_bytes());
        assert_ne!(bytes, TinyModel { seed: 2, ..TinyModel::default() }.to_bytes());
    }

    #[test]
    fn a_space_is_written_as_in_gpt2() {
        assert_eq!(byte_letter(b' '), 'Ġ');
        assert_eq!(byte_letter(b'\n'), 'Ċ');
        assert_eq!(byte_letter(b'a'), 'a');
    }
}
