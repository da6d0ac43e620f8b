//! Gemma 3 270M: windows, two bases, norms on both sides and a SentencePiece vocabulary, on the real file.

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::gemma3;

use super::*;

/// Tokens of the text, more than the window of 512.
const TOKENS: usize = 640;
/// Lengths of prompts whose next token is compared.
const LENGTHS: [usize; 5] = [2, 100, 511, 513, 640];
/// Tokens of each of two windows that are compared with llama.cpp.
const TOKENS_PEER: usize = 80;

fn gemma_path() -> PathBuf {
    let default = "data/models/gemma3-270m/gemma-3-270m-q4_k_m.gguf";
    let path = std::env::var_os("HANSE_GEMMA").map(PathBuf::from);
    let path = path.unwrap_or_else(|| workspace().join(default));
    assert!(
        path.is_file(),
        "no model at {}: run tests/run, or `gateway models pull --models tests/models.toml`",
        path.display()
    );
    path
}

/// The text behind the token that every text of Gemma's begins with.
fn ids(tokenizer: &Tokenizer) -> Vec<u32> {
    let text = include_str!("../../../../tests/corpus.txt");
    let begin = tokenizer.bos().unwrap();
    let ids = tokenizer.encode(text, Control::Never);
    [begin].into_iter().chain(ids).collect()
}

/// Candle's model with the tensors that Candle dequantizes, under the names of Hugging Face.
fn reference(path: &Path) -> gemma3::Model {
    let mut file = File::open(path).unwrap();
    let content = Content::read(&mut file).unwrap();
    let names: Vec<String> = content.tensor_infos.keys().cloned().collect();
    let mut tensor = |name: String| {
        let tensor = content.tensor(&mut file, &name, &Device::Cpu).unwrap();
        let mut tensor = tensor.dequantize(&Device::Cpu).unwrap();
        if name.contains("norm") {
            // the file has what these models add
            tensor = (tensor - 1.0).unwrap();
        }
        (published(&name), tensor)
    };
    let tensors: std::collections::HashMap<String, Tensor> =
        names.into_iter().map(&mut tensor).collect();
    let config = json!({
        "attention_bias": false,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_attention_heads": 4,
        "num_hidden_layers": 18,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "vocab_size": 262_144,
        "query_pre_attn_scalar": 256,
        // a mask of these models lets one position more through
        "sliding_window": 511,
        "sliding_window_pattern": 6,
        "max_position_embeddings": 1024,
    });
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    gemma3::Model::new(false, &serde_json::from_value(config).unwrap(), weights).unwrap()
}

fn published(name: &str) -> String {
    let Some(rest) = name.strip_prefix("blk.") else {
        let part = if name.starts_with("token_embd") { "embed_tokens" } else { "norm" };
        return format!("model.{part}.weight");
    };
    let (layer, part) = rest.split_once('.').unwrap();
    let part = match part.strip_suffix(".weight").unwrap() {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "post_attention_norm" => "post_attention_layernorm",
        "ffn_norm" => "pre_feedforward_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "post_ffw_norm" => "post_feedforward_layernorm",
        other => panic!("{other} is not part of a Gemma 3"),
    };
    format!("model.layers.{layer}.{part}.weight")
}

/// Our distributions after each prompt, out of one pass over the longest in uneven chunks.
fn after(model: &dyn Model, ids: &[u32], kind: KvKind) -> Distributions {
    let (cache, tables) = reserved(model, ids.len() as u32, kind);
    let (mut start, mut rows) = (0, Distributions::new());
    for chunk in ids.chunks(250) {
        let mut batch = Batch::default();
        batch.push(chunk.iter().copied(), start as u32, &tables, 0);
        let here =
            LENGTHS.iter().filter(|length| (start + 1..=start + chunk.len()).contains(length));
        batch.drawn = here.map(|length| (length - 1 - start) as u32).collect();
        let logits = model.forward(&batch, &cache).unwrap().to_vec2::<f32>().unwrap();
        rows.extend(logits.iter().map(|logits| log_softmax(logits)));
        start += chunk.len();
    }
    rows
}

#[test]
fn gemma_agrees_with_an_f32_reference() {
    let path = gemma_path();
    let exact = load(&path, setup(Activations::F32), &mut |_| {}).unwrap();
    let ids = &ids(&exact.tokenizer)[..TOKENS];
    let rounded = load(&path, setup(Activations::Int8), &mut |_| {}).unwrap();
    let mut reference = reference(&path);
    let mut logits = |length: usize| {
        reference.clear_kv_cache();
        let ids = Tensor::new(&ids[..length], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = reference.forward(&ids, 0).unwrap().flatten_all().unwrap();
        log_softmax(&logits.to_vec1::<f32>().unwrap())
    };
    let expected: Distributions = LENGTHS.iter().map(|length| logits(*length)).collect();
    let (mut graph, mut rounding) = (Distance::default(), Distance::default());
    graph.add_rows(&[], &expected, &after(&*exact.model, ids, KvKind::F16));
    rounding.add_rows(&[], &expected, &after(&*rounded.model, ids, usual()));
    publish("gemma_logits", &json!({ "f32": graph.report(), "usual": rounding.report() }));
    assert!(graph.top_1() == 1.0 && graph.kl() <= 1e-4, "{graph:?}");
    assert!(rounding.top_1() >= 0.85 && rounding.kl() <= 0.02, "{rounding:?}");
}

#[test]
fn gemma_is_as_good_as_in_llama_cpp() {
    let path = gemma_path();
    let loaded = load(&path, setup(Activations::Int8), &mut |_| {}).unwrap();
    let ids = ids(&loaded.tokenizer);
    let begin = ids[0];
    let windows: Vec<Vec<u32>> = ids[1..]
        .chunks(400)
        .take(2)
        .map(|part| [begin].into_iter().chain(part[..TOKENS_PEER].iter().copied()).collect())
        .collect();
    let peer = peer_logprobs(&path, &windows);
    let (mut own, mut theirs, mut count) = (0.0, 0.0, 0);
    for (window, peer) in windows.iter().zip(peer) {
        let rows = ours(&*loaded.model, window, usual());
        for ((row, id), peer) in rows.iter().zip(&window[1..]).zip(peer) {
            let Some(peer) = peer else { continue };
            own += f64::from(row[*id as usize]);
            theirs += peer;
            count += 1;
        }
    }
    assert!(count > 2 * TOKENS_PEER * 9 / 10, "llama.cpp told {count} positions");
    let (own, theirs) = (perplexity(own, count), perplexity(theirs, count));
    publish("gemma_perplexity", &json!({ "positions": count, "ours": own, "llama_cpp": theirs }));
    assert!((own / theirs - 1.0).abs() <= 0.03, "{own} against {theirs}");
}
