//! The tensors of each architecture, under the names of GGUF and those of Hugging Face.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::TinyModel;

/// A family of models.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are the models'")]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
    Phi3,
}

impl Architecture {
    /// What a GGUF file calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
        }
    }

    fn has_head_norms(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// What is added to norms on the way into a GGUF file.
    fn norm_offset(self) -> f32 {
        if self == Self::Gemma3 { 1.0 } else { 0.0 }
    }

    /// The name of a layer's part at Hugging Face.
    fn part(self, part: &str) -> &'static str {
        match part {
            "attn_norm" => "input_layernorm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_qkv" => "self_attn.qkv_proj",
            "attn_output" => "self_attn.o_proj",
            "attn_q_norm" => "self_attn.q_norm",
            "attn_k_norm" => "self_attn.k_norm",
            "post_attention_norm" => "post_attention_layernorm",
            "ffn_norm" if self == Self::Gemma3 => "pre_feedforward_layernorm",
            "ffn_norm" => "post_attention_layernorm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" if self == Self::Phi3 => "mlp.gate_up_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            "post_ffw_norm" => "post_feedforward_layernorm",
            other => unreachable!("{other} is no part of a layer"),
        }
    }
}

/// A tensor of floats.
#[derive(Clone, PartialEq, Debug)]
pub struct TinyTensor {
    /// Its name in a GGUF file, or at Hugging Face.
    pub name: String,
    /// Innermost first.
    pub shape: Vec<u32>,
    /// Row by row.
    pub values: Vec<f32>,
}

impl TinyModel {
    /// The tensors as a GGUF file has them.
    pub(crate) fn tensors(&self) -> Vec<TinyTensor> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut tensors = vec![];
        let mut matrix = |name: String, rows: u32, columns: u32| {
            // wide enough for logits that differ, so that greedy answers are not one token
            let scale = 3.0 / (columns as f32).sqrt();
            let count = (rows * columns) as usize;
            let values = (0..count).map(|_| random.random_range(-scale..scale)).collect();
            tensors.push(TinyTensor { name, shape: vec![columns, rows], values });
        };
        matrix("token_embd.weight".into(), self.vocabulary(), self.width);
        for layer in 0..self.layers {
            for (part, rows, columns) in self.matrices() {
                matrix(format!("blk.{layer}.{part}.weight"), rows, columns);
            }
        }
        if !self.is_tied {
            matrix("output.weight".into(), self.vocabulary(), self.width);
        }
        let kv = self.head() * self.kv_heads;
        if self.architecture == Architecture::Qwen2 {
            for layer in 0..self.layers {
                for (part, length) in
                    [("attn_q", self.head() * self.heads), ("attn_k", kv), ("attn_v", kv)]
                {
                    let values = (0..length).map(|_| random.random_range(-0.5..0.5)).collect();
                    let name = format!("blk.{layer}.{part}.bias");
                    tensors.push(TinyTensor { name, shape: vec![length], values });
                }
            }
        }
        let norm = |name: String, length: u32| TinyTensor {
            name,
            shape: vec![length],
            values: (0..length).map(|i| 1.0 + 0.01 * (i % 7) as f32).collect(),
        };
        for layer in 0..self.layers {
            for (part, length) in self.norms() {
                tensors.push(norm(format!("blk.{layer}.{part}.weight"), length));
            }
        }
        tensors.push(norm("output_norm.weight".into(), self.width));
        tensors
    }

    /// A layer's matrices: name, rows, columns.
    fn matrices(&self) -> Vec<(&'static str, u32, u32)> {
        let (width, ff) = (self.width, self.feed_forward);
        let (queries, keys) = (self.head() * self.heads, self.head() * self.kv_heads);
        match self.architecture {
            Architecture::Phi3 => vec![
                ("attn_qkv", queries + 2 * keys, width),
                ("attn_output", width, queries),
                ("ffn_up", 2 * ff, width),
                ("ffn_down", width, ff),
            ],
            _ => vec![
                ("attn_q", queries, width),
                ("attn_k", keys, width),
                ("attn_v", keys, width),
                ("attn_output", width, queries),
                ("ffn_gate", ff, width),
                ("ffn_up", ff, width),
                ("ffn_down", width, ff),
            ],
        }
    }

    /// A layer's norms and their lengths.
    fn norms(&self) -> Vec<(&'static str, u32)> {
        let mut norms = vec![("attn_norm", self.width), ("ffn_norm", self.width)];
        if self.architecture.has_head_norms() {
            norms.extend([("attn_q_norm", self.head()), ("attn_k_norm", self.head())]);
        }
        if self.architecture == Architecture::Gemma3 {
            norms.extend([("post_attention_norm", self.width), ("post_ffw_norm", self.width)]);
        }
        norms
    }

    /// The tensors as the model's makers would publish them: other names, llama's rows of query and
    /// key not permuted, Gemma's norms without the 1 that is added to them.
    pub fn published_tensors(&self) -> Vec<TinyTensor> {
        self.tensors().into_iter().map(|tensor| self.published(tensor)).collect()
    }

    fn published(&self, tensor: TinyTensor) -> TinyTensor {
        let TinyTensor { name, shape, mut values } = tensor;
        if name.contains("norm") {
            values.iter_mut().for_each(|value| *value -= self.architecture.norm_offset());
        }
        let is_turned = name.contains("attn_q.") || name.contains("attn_k.");
        if self.architecture == Architecture::Llama && is_turned {
            values = by_side(&values, self.head() as usize, shape[0] as usize);
        }
        let name = match name.strip_prefix("blk.") {
            Some(rest) => {
                let (layer, rest) = rest.split_once('.').expect("a layer's number");
                let (part, kind) = rest.split_once('.').expect("weight or bias");
                format!("model.layers.{layer}.{}.{kind}", self.architecture.part(part))
            }
            None if name == "token_embd.weight" => "model.embed_tokens.weight".into(),
            None if name == "output.weight" => "lm_head.weight".into(),
            None => "model.norm.weight".into(),
        };
        TinyTensor { name, shape, values }
    }
}

/// Rows by (head, pair, side) in the order (head, side, pair).
fn by_side(values: &[f32], head: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let from = |row: usize| {
        let (start, inside) = (row / head * head, row % head);
        let (side, pair) = (inside / (head / 2), inside % (head / 2));
        start + 2 * pair + side
    };
    (0..rows).flat_map(|row| &values[from(row) * columns..][..columns]).copied().collect()
}
