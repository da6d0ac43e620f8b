//! candle-transformers' models on the tensors of a tiny model, as its makers would publish them.
//!
//! Each answer is for the last position of a prompt that is read whole: the masks and rotating caches of
//! these models are right for no other use.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{gemma3, llama, mistral, phi3, qwen2, qwen3};
use engine_tiny::{Architecture, TinyModel, Value};

/// What Llama 3.1 changes, for so short a context that some frequencies of small heads change.
const FACTOR: f32 = 8.0;
const LOW: f32 = 1.0;
const HIGH: f32 = 4.0;
const ORIGINAL: usize = 64;

/// A model, or what makes a new one.
pub(super) enum Reference {
    Llama(Box<llama::Llama>, llama::Config),
    Mistral(mistral::Model),
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
    Gemma3(gemma3::Model),
    Phi3(phi3::Model, Box<(TinyModel, phi3::Config)>),
}

fn tensors(model: &TinyModel) -> HashMap<String, Tensor> {
    let tensor = |tensor: engine_tiny::TinyTensor| {
        let shape: Vec<usize> = tensor.shape.iter().rev().map(|size| *size as usize).collect();
        (tensor.name, Tensor::from_vec(tensor.values, shape, &Device::Cpu).unwrap())
    };
    let mut tensors: HashMap<_, _> = model.published_tensors().into_iter().map(tensor).collect();
    // some of the models want a head, whether it is the embedding or not
    let embedding = tensors["model.embed_tokens.weight"].clone();
    tensors.entry("lm_head.weight".to_owned()).or_insert(embedding);
    tensors
}

fn weights(tensors: HashMap<String, Tensor>) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// Divisors of the frequencies of heads of some width, as llama.cpp's converter computes them.
pub(super) fn llama3_divisors(width: usize) -> Vec<f32> {
    let frequency = |i: usize| 10_000f32.powf(-2.0 * i as f32 / width as f32);
    let divisor = |i| {
        let wavelength = std::f32::consts::TAU / frequency(i);
        let original = ORIGINAL as f32;
        if wavelength < original / HIGH {
            return 1.0;
        }
        if wavelength > original / LOW {
            return FACTOR;
        }
        let smooth = (original / wavelength - LOW) / (HIGH - LOW);
        1.0 / ((1.0 - smooth) / FACTOR + smooth)
    };
    (0..width / 2).map(divisor).collect()
}

/// The sizes that every model's configuration has, as JSON.
fn sizes(model: &TinyModel) -> serde_json::Value {
    let float = |key: &str| {
        model.metadata.iter().find_map(|(other, value)| match value {
            Value::F32(number) if *other == key => Some(*number),
            _ => None,
        })
    };
    serde_json::json!({
        "vocab_size": model.vocabulary(),
        "hidden_size": model.width,
        "intermediate_size": model.feed_forward,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_width.unwrap_or(model.width / model.heads),
        "max_position_embeddings": model.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": float("rope.freq_base").unwrap_or(10_000.0),
        "tie_word_embeddings": model.is_tied,
        "hidden_act": "silu",
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": false,
        "max_window_layers": 0,
        "use_sliding_window": false,
        "rope_local_base_freq": 10_000.0,
        "query_pre_attn_scalar": model.head_width,
        "final_logit_softcapping": float("final_logit_softcapping"),
        "attn_logit_softcapping": float("attn_logit_softcapping"),
    })
}

fn number(model: &TinyModel, key: &str) -> Option<u32> {
    model.metadata.iter().find_map(|(other, value)| match value {
        Value::U32(number) if *other == key => Some(*number),
        _ => None,
    })
}

impl Reference {
    pub(super) fn new(model: &TinyModel) -> Self {
        let mut config = sizes(model);
        // a mask of these models lets one position more through than their window says
        let window = number(model, "attention.sliding_window").map(|window| window - 1);
        config["sliding_window"] = window.into();
        let weights = weights(tensors(model));
        match model.architecture {
            Architecture::Llama if window.is_some() => {
                let config = serde_json::from_value(config).unwrap();
                Self::Mistral(mistral::Model::new(&config, weights).unwrap())
            }
            Architecture::Llama => {
                if !model.vectors.is_empty() {
                    config["rope_scaling"] = serde_json::json!({
                        "factor": FACTOR, "low_freq_factor": LOW, "high_freq_factor": HIGH,
                        "original_max_position_embeddings": ORIGINAL, "rope_type": "llama3",
                    });
                }
                let config: llama::LlamaConfig = serde_json::from_value(config).unwrap();
                let config = config.into_config(false);
                Self::Llama(Box::new(llama::Llama::load(weights, &config).unwrap()), config)
            }
            Architecture::Qwen2 => {
                config["sliding_window"] = model.context.into();
                let config = serde_json::from_value(config).unwrap();
                Self::Qwen2(qwen2::ModelForCausalLM::new(&config, weights).unwrap())
            }
            Architecture::Qwen3 => {
                let config = serde_json::from_value(config).unwrap();
                Self::Qwen3(qwen3::ModelForCausalLM::new(&config, weights).unwrap())
            }
            Architecture::Gemma3 => {
                config["sliding_window_pattern"] =
                    number(model, "attention.sliding_window_pattern").into();
                let config = serde_json::from_value(config).unwrap();
                Self::Gemma3(gemma3::Model::new(false, &config, weights).unwrap())
            }
            Architecture::Phi3 => {
                let head = f64::from(model.width / model.heads);
                let part = number(model, "rope.dimension_count").map(|part| f64::from(part) / head);
                config["partial_rotary_factor"] = part.into();
                let config: phi3::Config = serde_json::from_value(config).unwrap();
                let read = phi3::Model::new(&config, weights).unwrap();
                Self::Phi3(read, Box::new((model.clone(), config)))
            }
        }
    }

    /// Logits of the last position.
    pub(super) fn last_logits(&mut self, prompt: &[u32]) -> Vec<f32> {
        let ids = Tensor::new(prompt, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        self.forward(&ids).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn forward(&mut self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Llama(model, config) => {
                let mut cache = llama::Cache::new(false, DType::F32, config, &Device::Cpu)?;
                model.forward(ids, 0, &mut cache)
            }
            Self::Mistral(model) => {
                model.clear_kv_cache();
                model.forward(ids, 0)
            }
            Self::Qwen2(model) => {
                model.clear_kv_cache();
                model.forward(ids, 0)
            }
            Self::Qwen3(model) => {
                model.clear_kv_cache();
                model.forward(ids, 0)
            }
            Self::Gemma3(model) => {
                model.clear_kv_cache();
                model.forward(ids, 0)
            }
            Self::Phi3(model, _) => {
                model.clear_kv_cache();
                model.forward(ids, 0)
            }
        }
    }

    /// Phi 3 with LongRoPE's divisors. The reference's own reading of them multiplies instead and lets a
    /// sequence's length choose, so it gets the inverse of one list, and what cosines and sines are
    /// multiplied with comes in through the rows of queries and keys.
    pub(super) fn divide(&mut self, divisors: &[f32], attention_factor: f64) {
        let Self::Phi3(_, origin) = self else { panic!("only Phi 3 has LongRoPE") };
        let (model, mut config) = (**origin).clone();
        let factors: Vec<f32> = divisors.iter().map(|divisor| 1.0 / divisor).collect();
        config.rope_scaling = Some(phi3::RopeScaling {
            short_factor: factors.clone(),
            long_factor: factors,
            type_: phi3::RopeScalingType::LongRope,
        });
        let mut tensors = tensors(&model);
        let turned = (model.width + model.width / model.heads * model.kv_heads) as usize;
        for (name, tensor) in &mut tensors {
            if name.ends_with("qkv_proj.weight") {
                let rest = tensor.dim(0).unwrap() - turned;
                let scaled = (tensor.narrow(0, 0, turned).unwrap() * attention_factor).unwrap();
                *tensor =
                    Tensor::cat(&[scaled, tensor.narrow(0, turned, rest).unwrap()], 0).unwrap();
            }
        }
        let read = phi3::Model::new(&config, weights(tensors)).unwrap();
        *self = Self::Phi3(read, Box::new((model, config)));
    }
}

/// The activation that candle-transformers is told is the one that our kernel computes.
#[test]
fn the_reference_uses_the_approximation_of_gelu() {
    let name = serde_json::json!("gelu_pytorch_tanh");
    assert_eq!(serde_json::from_value::<Activation>(name).unwrap(), Activation::GeluPytorchTanh);
}
