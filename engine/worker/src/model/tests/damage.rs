//! A damaged file is a clear error: no panic, no huge allocation, no model that runs.

use std::error::Error;
use std::io::Write;

use engine_tiny::{TinyModel, WeightType};
use expect_test::expect;
use proptest::prelude::*;

use super::super::*;
use super::setup;

fn model() -> TinyModel {
    TinyModel { context: 64, layers: 1, ..TinyModel::default() }
}

fn load_bytes(bytes: &[u8]) -> Result<Loaded, LoadError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    load(file.path(), setup(Activations::Int8), &mut |_| {})
}

/// The error with its sources, or what was loaded.
fn shown(result: Result<Loaded, LoadError>) -> String {
    let error = match result {
        Ok(_) => return "loaded".to_owned(),
        Err(error) => error,
    };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Overwrites the first occurrence of some bytes.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Overwrites a 32-bit number in the metadata.
fn set(bytes: &mut [u8], key: &str, value: u32) {
    let at = bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
    let at = at + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_whole_file_loads_with_its_digest_and_progress() {
    let bytes = model().to_bytes();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let mut heard = Vec::new();
    let loaded =
        load(file.path(), setup(Activations::F32), &mut |progress| heard.push(progress)).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    assert_eq!(loaded.digest, digest.as_ref());
    assert_eq!(loaded.model.vocabulary(), loaded.tokenizer.vocabulary());
    assert!(heard.is_sorted_by_key(|progress| progress.done));
    assert!(heard.iter().all(|progress| progress.done <= progress.total));
}

#[test]
fn every_type_of_weights_loads() {
    use WeightType::{F16, F32, Q4_0, Q4_1, Q8_0};
    for weights in [F32, F16, Q4_0, Q4_1, Q8_0] {
        let bytes = TinyModel { weights, embedding: weights, ..model() }.to_bytes();
        assert_eq!(shown(load_bytes(&bytes)), "loaded", "{weights:?}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 16] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(1000),
        |bytes| bytes.truncate(bytes.len() - 500),
        |bytes| bytes[0] = b'X',
        |bytes| replace(bytes, b"llama", b"mamba"),
        |bytes| replace(bytes, b"output_norm.weight", b"output_morn.weight"),
        |bytes| replace(bytes, b"attn_q.weight", b"attn_q.weighs"),
        |bytes| set(bytes, "llama.block_count", 2),
        |bytes| set(bytes, "llama.block_count", u32::MAX),
        |bytes| set(bytes, "llama.embedding_length", 96),
        |bytes| set(bytes, "llama.attention.head_count_kv", 3),
        |bytes| set(bytes, "llama.attention.head_count", 0),
        |bytes| set(bytes, "llama.context_length", u32::MAX),
        |bytes| set(bytes, "llama.rope.freq_base", f32::NAN.to_bits()),
        |bytes| set(bytes, "llama.rope.dimension_count", 7),
        // the type of the first tensor, after its name, its two sizes and their number
        |bytes| set(bytes, "token_embd.weight\u{2}\0\0\0\u{40}\0\0\0\0\0\0\0\u{b}\u{1}\0\0", 20),
    ];
    let errors = changes.map(|change| {
        let mut bytes = model().to_bytes();
        change(&mut bytes);
        shown(load_bytes(&bytes))
    });
    expect![[r#"
        the model file is not sound: `magic` at byte 0 needs 4 bytes, but the file has 0 in all
        the model file is not sound: `tokenizer.ggml.tokens` at byte 670 needs 2136 bytes, but the file has 1000 in all
        the model file is not sound: tensor `blk.0.ffn_norm.weight` needs bytes 47040 to 47296, but the file has 47052
        the model file is not sound: not a GGUF file: it begins with [58, 47, 55, 46] instead of "GGUF"
        architecture `mamba` is not supported; this build runs: llama, qwen2, qwen3, gemma3, phi3
        tensor `output_norm.weight` is missing
        tensor `blk.0.attn_q.weight` is missing
        tensor `blk.1.attn_q.weight` is missing
        metadata key `llama.block_count` is 4294967295: it is 0 or beyond all reason
        metadata key `llama.attention.key_length` is 24: heads must be multiples of 16 wide
        metadata key `llama.attention.head_count_kv` is 3: it must divide the number of heads
        metadata key `llama.attention.head_count` is 0: it is 0 or beyond all reason
        metadata key `llama.context_length` is 4294967295: it is 0 or beyond all reason
        metadata key `llama.rope.freq_base` is NaN: it must be a positive number
        metadata key `llama.rope.dimension_count` is 7: it must be even
        cannot use tensor `token_embd.weight`: weights of ggml type 20 (iq4_nl) are not supported"#]].assert_eq(&errors.join("\n"));
}

#[test]
fn a_directory_and_nothing_are_refused() {
    let load = |path: &Path| shown(load(path, setup(Activations::Int8), &mut |_| {}));
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        load(directory.path()),
        "the model file is not sound: the model's folder has no config.json"
    );
    let missing = load(&directory.path().join("absent.gguf"));
    assert!(missing.starts_with("cannot read the model file: "), "{missing}");
}

proptest! {
    /// Bytes are changed or cut at random, most of them before the weights. Whatever loads
    /// has a sound vocabulary; everything else is an error, with a text.
    #[test]
    fn random_damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        head in any::<bool>(),
    ) {
        let mut bytes = model().to_bytes();
        let length = if head { 9000 } else { bytes.len() };
        for (place, value) in changes {
            bytes[place.index(length)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(length));
        }
        match load_bytes(&bytes) {
            Ok(loaded) => prop_assert_eq!(loaded.model.vocabulary(), loaded.tokenizer.vocabulary()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
