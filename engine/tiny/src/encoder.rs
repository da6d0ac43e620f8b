//! A tiny sentence-embedding model, as sentence-transformers publishes such: a random BERT.

use std::io;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::TinyTensor;
use crate::folder::{FloatType, shard};

/// What the encoder looks like.
#[derive(Clone, Debug)]
pub struct TinyEncoder {
    /// Seed of the weights.
    pub seed: u64,
    /// Number of layers.
    pub layers: u32,
    /// Width of a row, and of a vector.
    pub width: u32,
    /// Heads.
    pub heads: u32,
    /// Width of the feed-forward layer.
    pub inner: u32,
    /// Longest text in tokens, the two that frame it included.
    pub context: u32,
}

impl Default for TinyEncoder {
    fn default() -> Self {
        Self { seed: 1, layers: 2, width: 48, heads: 3, inner: 80, context: 64 }
    }
}

/// Special tokens, first in the vocabulary; then letters, each to begin a word and to go on with it.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

impl TinyEncoder {
    /// Number of tokens in the vocabulary.
    pub fn vocabulary(&self) -> u32 {
        tokens().len() as u32
    }

    /// Writes every file of the folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let Self { layers, width, heads, inner, context, .. } = self;
        let vocabulary = self.vocabulary();
        let config = format!(
            "{{\"model_type\": \"bert\", \"hidden_act\": \"gelu\", \"num_hidden_layers\": {layers}, \
             \"hidden_size\": {width}, \"num_attention_heads\": {heads}, \"intermediate_size\": {inner}, \
             \"max_position_embeddings\": {}, \"vocab_size\": {vocabulary}, \"type_vocab_size\": 2, \
             \"layer_norm_eps\": 1e-12}}",
            context + 8
        );
        let sentence = format!("{{\"max_seq_length\": {context}, \"do_lower_case\": false}}");
        let pooling = "{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": false}";
        let modules = "[{\"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}, \
                       {\"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}, \
                       {\"path\": \"2_Normalize\", \"type\": \"sentence_transformers.models.Normalize\"}]";
        std::fs::create_dir(folder.join("1_Pooling"))?;
        for (name, content) in [
            ("config.json", config.as_str()),
            ("sentence_bert_config.json", &sentence),
            ("modules.json", modules),
            ("1_Pooling/config.json", pooling),
            ("tokenizer.json", &tokenizer()),
        ] {
            std::fs::write(folder.join(name), content)?;
        }
        std::fs::write(folder.join("model.safetensors"), shard(&self.tensors(), FloatType::F32))
    }

    /// The weights by their published names; shapes are innermost first.
    pub fn tensors(&self) -> Vec<TinyTensor> {
        let (width, inner) = (self.width, self.inner);
        let mut tensors = Vec::new();
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut add = |name: String, shape: &[u32], scale: f32| {
            let middle = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let count: u32 = shape.iter().product();
            let values = (0..count).map(|_| middle + scale * random.random_range(-1.0..1.0f32));
            tensors.push(TinyTensor { name, shape: shape.to_vec(), values: values.collect() });
        };
        for (name, rows) in
            [("word", self.vocabulary()), ("position", self.context + 8), ("token_type", 2)]
        {
            add(format!("embeddings.{name}_embeddings.weight"), &[width, rows], 1.0);
        }
        add("embeddings.LayerNorm.weight".into(), &[width], 0.2);
        add("embeddings.LayerNorm.bias".into(), &[width], 0.2);
        for layer in 0..self.layers {
            for (part, rows, columns) in [
                ("attention.self.query", width, width),
                ("attention.self.key", width, width),
                ("attention.self.value", width, width),
                ("attention.output.dense", width, width),
                ("intermediate.dense", inner, width),
                ("output.dense", width, inner),
            ] {
                let name = format!("encoder.layer.{layer}.{part}");
                add(format!("{name}.weight"), &[columns, rows], 0.3);
                add(format!("{name}.bias"), &[rows], 0.1);
            }
            for part in ["attention.output", "output"] {
                let name = format!("encoder.layer.{layer}.{part}.LayerNorm");
                add(format!("{name}.weight"), &[width], 0.2);
                add(format!("{name}.bias"), &[width], 0.2);
            }
        }
        // published models have them, and no vector depends on them
        add("pooler.dense.weight".into(), &[width, width], 0.3);
        add("pooler.dense.bias".into(), &[width], 0.3);
        tensors
    }
}

fn tokens() -> Vec<String> {
    let letters = || ('a'..='z').chain('0'..='9');
    let special = SPECIAL.iter().map(|token| (*token).to_owned());
    let beginnings = letters().map(String::from);
    special.chain(beginnings).chain(letters().map(|letter| format!("##{letter}"))).collect()
}

fn tokenizer() -> String {
    let vocabulary: Vec<String> =
        tokens().iter().enumerate().map(|(id, token)| format!("\"{token}\": {id}")).collect();
    format!(
        "{{\"added_tokens\": [{{\"id\": 2, \"content\": \"[CLS]\", \"special\": true}}], \
         \"normalizer\": {{\"type\": \"BertNormalizer\", \"clean_text\": true, \
         \"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": true}}, \
         \"pre_tokenizer\": {{\"type\": \"BertPreTokenizer\"}}, \
         \"post_processor\": {{\"type\": \"TemplateProcessing\", \"single\": [\
         {{\"SpecialToken\": {{\"id\": \"[CLS]\", \"type_id\": 0}}}}, \
         {{\"Sequence\": {{\"id\": \"A\", \"type_id\": 0}}}}, \
         {{\"SpecialToken\": {{\"id\": \"[SEP]\", \"type_id\": 0}}}}]}}, \
         \"model\": {{\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \
         \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, \
         \"vocab\": {{{}}}}}}}",
        vocabulary.join(", ")
    )
}
