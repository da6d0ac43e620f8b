//! candle-transformers' llama on weights that Candle itself dequantizes.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, llama2_c};

/// The sizes of a file's model and its tensors, under the names of Hugging Face.
struct Read {
    tensors: HashMap<String, Tensor>,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    feed_forward: usize,
    vocabulary: usize,
    epsilon: f32,
    base: f32,
}

fn read(path: &Path) -> Read {
    let mut file = File::open(path).unwrap();
    let content = Content::read(&mut file).unwrap();
    let value = |key: &str| content.metadata.get(&format!("llama.{key}")).unwrap();
    let count = |key: &str| value(key).to_u32().unwrap() as usize;
    let float = |key: &str| match value(key) {
        Value::F32(number) => *number,
        other => panic!("{key} is {other:?}"),
    };
    let names: Vec<String> = content.tensor_infos.keys().cloned().collect();
    let mut tensors = HashMap::new();
    for name in names {
        let tensor = content.tensor(&mut file, &name, &Device::Cpu).unwrap();
        tensors.insert(renamed(&name), tensor.dequantize(&Device::Cpu).unwrap());
    }
    let embedding = tensors["model.embed_tokens.weight"].clone();
    let vocabulary = embedding.dim(0).unwrap();
    tensors.entry("lm_head.weight".to_owned()).or_insert(embedding);
    Read {
        tensors,
        layers: count("block_count"),
        width: count("embedding_length"),
        heads: count("attention.head_count"),
        kv_heads: count("attention.head_count_kv"),
        feed_forward: count("feed_forward_length"),
        vocabulary,
        epsilon: float("attention.layer_norm_rms_epsilon"),
        base: float("rope.freq_base"),
    }
}

fn renamed(name: &str) -> String {
    let part = match name {
        "token_embd.weight" => return "model.embed_tokens.weight".to_owned(),
        "output.weight" => return "lm_head.weight".to_owned(),
        "output_norm.weight" => return "model.norm.weight".to_owned(),
        other => other.strip_prefix("blk.").unwrap(),
    };
    let (layer, part) = part.split_once('.').unwrap();
    let part = match part {
        "attn_norm.weight" => "input_layernorm",
        "attn_q.weight" => "self_attn.q_proj",
        "attn_k.weight" => "self_attn.k_proj",
        "attn_v.weight" => "self_attn.v_proj",
        "attn_output.weight" => "self_attn.o_proj",
        "ffn_norm.weight" => "post_attention_layernorm",
        "ffn_gate.weight" => "mlp.gate_proj",
        "ffn_up.weight" => "mlp.up_proj",
        "ffn_down.weight" => "mlp.down_proj",
        other => panic!("{other} is not part of a llama"),
    };
    format!("model.layers.{layer}.{part}.weight")
}

/// The variant whose forward gives the logits of every position.
pub(super) struct Reference {
    model: llama2_c::Llama,
    config: llama2_c::Config,
    turns: VarBuilder<'static>,
}

impl Reference {
    pub(super) fn read(path: &Path) -> Self {
        let read = read(path);
        let config = llama2_c::Config {
            dim: read.width,
            hidden_dim: read.feed_forward,
            n_layers: read.layers,
            n_heads: read.heads,
            n_kv_heads: read.kv_heads,
            vocab_size: read.vocabulary,
            seq_len: super::WINDOW,
            norm_eps: read.epsilon.into(),
        };
        let turns = turns(read.width / read.heads, read.base);
        let weights = VarBuilder::from_tensors(read.tensors, DType::F32, &Device::Cpu);
        let model = llama2_c::Llama::load(weights, config.clone()).unwrap();
        Self { model, config, turns }
    }

    /// Logits of every position of a window.
    pub(super) fn logits(&self, window: &[u32]) -> Vec<Vec<f32>> {
        let mut cache = llama2_c::Cache::new(false, &self.config, self.turns.clone()).unwrap();
        let ids = Tensor::new(window, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = self.model.forward(&ids, 0, &mut cache).unwrap();
        logits.squeeze(0).unwrap().to_vec2().unwrap()
    }
}

/// Cosines and sines, under the names that this variant looks for.
fn turns(head_width: usize, base: f32) -> VarBuilder<'static> {
    let pairs = head_width / 2;
    let angle = |position: usize, pair: usize| {
        position as f64 * f64::from(base).powf(-2.0 * pair as f64 / head_width as f64)
    };
    let table = |turn: fn(f64) -> f64| {
        let places = (0..super::WINDOW * pairs).map(|i| turn(angle(i / pairs, i % pairs)) as f32);
        let values: Vec<f32> = places.collect();
        Tensor::from_vec(values, (super::WINDOW, pairs), &Device::Cpu).unwrap()
    };
    let tensors = HashMap::from([
        ("freq_cis_real".to_owned(), table(f64::cos)),
        ("freq_cis_imag".to_owned(), table(f64::sin)),
    ]);
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// Logits of a window's last position, by the variant that turns halves of heads, on rows in
/// the order of the model's makers.
pub(super) fn last_logits_in_halves(path: &Path, window: &[u32]) -> Vec<f32> {
    let mut read = read(path);
    let head_width = read.width / read.heads;
    for (name, tensor) in &mut read.tensors {
        if name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") {
            // the file has (head, pair, side); the other style wants (head, side, pair)
            let (rows, columns) = tensor.dims2().unwrap();
            let by_pair = (rows / head_width, head_width / 2, 2, columns);
            let by_side = tensor.reshape(by_pair).unwrap().transpose(1, 2).unwrap();
            *tensor = by_side.contiguous().unwrap().reshape((rows, columns)).unwrap();
        }
    }
    let config = llama::Config {
        hidden_size: read.width,
        intermediate_size: read.feed_forward,
        vocab_size: read.vocabulary,
        num_hidden_layers: read.layers,
        num_attention_heads: read.heads,
        num_key_value_heads: read.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: read.epsilon.into(),
        rope_theta: read.base,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: super::WINDOW,
        tie_word_embeddings: false,
    };
    let weights = VarBuilder::from_tensors(read.tensors, DType::F32, &Device::Cpu);
    let model = llama::Llama::load(weights, &config).unwrap();
    let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
    let ids = Tensor::new(window, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    model.forward(&ids, 0, &mut cache).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
}
