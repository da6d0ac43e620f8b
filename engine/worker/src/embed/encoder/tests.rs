//! A tiny encoder against candle-transformers' BERT, and against itself in other company.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use engine_kernels::Threads;
use engine_tiny::TinyEncoder;

use super::*;

fn encoder(tiny: &TinyEncoder) -> Encoder {
    let folder = tempfile::tempdir().unwrap();
    tiny.write(folder.path()).unwrap();
    super::super::load::load(folder.path(), &mut |_| {}).unwrap().0
}

/// Texts of many lengths, the longest and the shortest that there are among them.
fn texts(tiny: &TinyEncoder) -> Vec<Vec<u32>> {
    let length = |number: u32| 1 + number * 7 % tiny.context;
    let id = |number: u32, place: u32| (number * 31 + place * place * 7 + 3) % tiny.vocabulary();
    (0..40).map(|number| (0..length(number)).map(|place| id(number, place)).collect()).collect()
}

fn bits(vectors: &[Vec<f64>]) -> Vec<Vec<u64>> {
    vectors.iter().map(|vector| vector.iter().map(|number| number.to_bits()).collect()).collect()
}

#[test]
fn a_vector_has_the_same_bits_in_any_company() {
    let tiny = TinyEncoder::default();
    let encoder = encoder(&tiny);
    let texts = texts(&tiny);
    let all: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let together = bits(&encoder.forward(&all).unwrap());
    for (text, expected) in all.iter().zip(&together) {
        assert_eq!(&bits(&encoder.forward(&[text]).unwrap())[0], expected, "{} alone", text.len());
    }
    let mut turned = all.clone();
    turned.reverse();
    let mut back = bits(&encoder.forward(&turned).unwrap());
    back.reverse();
    assert_eq!(back, together, "in another order");
    for size in [2, 3, 7, 16] {
        let parts = all.chunks(size).flat_map(|part| bits(&encoder.forward(part).unwrap()));
        assert_eq!(parts.collect::<Vec<_>>(), together, "{size} at a time");
    }
    for threads in [1, 2, 3, 8] {
        let threads = Threads::new(threads).unwrap();
        let vectors = threads.install(|| encoder.forward(&all)).unwrap();
        assert_eq!(bits(&vectors), together, "{} threads", threads.count());
    }
}

#[test]
fn it_is_the_bert_of_candle_transformers() {
    let tiny = TinyEncoder { layers: 3, ..TinyEncoder::default() };
    let encoder = encoder(&tiny);
    let config: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": tiny.vocabulary(), "hidden_size": tiny.width, "num_hidden_layers": tiny.layers,
        "num_attention_heads": tiny.heads, "intermediate_size": tiny.inner, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "max_position_embeddings": tiny.context + 8,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "position_embedding_type": "absolute", "use_cache": true, "classifier_dropout": null,
        "model_type": "bert",
    }))
    .unwrap();
    let tensor = |tensor: engine_tiny::TinyTensor| {
        let shape: Vec<usize> = tensor.shape.iter().rev().map(|size| *size as usize).collect();
        (tensor.name, Tensor::from_vec(tensor.values, shape, &Device::Cpu).unwrap())
    };
    let tensors: HashMap<_, _> = tiny.tensors().into_iter().map(tensor).collect();
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let reference = BertModel::load(weights, &config).unwrap();
    for text in texts(&tiny) {
        let ids = Tensor::new(text.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let kinds = ids.zeros_like().unwrap();
        let rows = reference.forward(&ids, &kinds, None).unwrap();
        let expected = rows.mean(1).unwrap().to_vec2::<f32>().unwrap().remove(0);
        let got = encoder.forward(&[&text]).unwrap().remove(0);
        for (got, expected) in got.iter().zip(expected) {
            let error = (got - f64::from(expected)).abs();
            assert!(error < 2e-5, "{got} instead of {expected}: {} tokens", text.len());
        }
    }
}

#[test]
fn fewer_dimensions_are_a_direction_again() {
    let vector = [3.0, 4.0, 12.0];
    assert_eq!(normalized(&vector, 2), Some(vec![0.6, 0.8]));
    assert_eq!(normalized(&vector, 1), Some(vec![1.0]));
    assert_eq!(normalized(&vector, 3).unwrap()[2], 12.0 / 13.0);
    assert_eq!(normalized(&[0.0, 1.0], 1), None);
    assert_eq!(normalized(&[f64::NAN, 1.0], 2), None);
}
