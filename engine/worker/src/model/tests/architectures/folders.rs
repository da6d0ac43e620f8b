//! The same models as folders of safetensors.

use std::fs;

use engine_tiny::FloatType;
use expect_test::{Expect, expect};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(model: &TinyModel, floats: FloatType, shards: usize, settings: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        model.write_folder(folder.0.path(), floats, shards, settings).unwrap();
        folder
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        load(self.0.path(), setup(Activations::F32), &mut |_| {})
    }
}

fn all() -> [TinyModel; 5] {
    [
        TinyModel { is_tied: false, ..tiny(Architecture::Llama) },
        tiny(Architecture::Qwen2),
        TinyModel { head_width: Some(32), ..tiny(Architecture::Qwen3) },
        gemma(vec![]),
        TinyModel { is_tied: false, ..tiny(Architecture::Phi3) },
    ]
}

#[test]
fn every_architecture_loads_from_a_folder() {
    for model in all() {
        let folder = Folder::new(&model, FloatType::F32, 1, &[]);
        check_loaded(&model, &*folder.load().unwrap().model);
    }
}

#[test]
fn halves_and_shards_load() {
    for model in all() {
        let prompt = prompt(&model);
        let whole = loaded(&model, setup(Activations::F32));
        let expected = logits(&*whole.model, &prompt, &[TOKENS]);
        for (floats, bound) in [(FloatType::F16, 0.01), (FloatType::BF16, 0.08)] {
            let folder = Folder::new(&model, floats, 3, &[]).load().unwrap();
            let ours = logits(&*folder.model, &prompt, &[TOKENS]);
            let away = distance(&expected[99], &ours[99]);
            assert!(away < bound && away > 0.0, "{:?} {floats:?}: {away}", model.architecture);
        }
    }
}

#[test]
fn a_tokenizer_in_json_is_that_of_the_file() {
    let model = tiny(Architecture::Llama);
    let (file, folder) = (
        loaded(&model, setup(Activations::F32)).tokenizer,
        Folder::new(&model, FloatType::F32, 1, &[]).load().unwrap().tokenizer,
    );
    let control = engine_text::Control::Except(&[]);
    for text in ["the and 12 \"é", "<|im_start|>user\nthe<|im_end|>"] {
        assert_eq!(folder.encode(text, control), file.encode(text, control));
    }
    assert_eq!(folder.end_tokens(), file.end_tokens());
}

/// What a shell computes, as the documentation says.
#[test]
fn a_folder_has_the_digest_of_its_files() {
    let folder = Folder::new(&tiny(Architecture::Llama), FloatType::F16, 2, &[]);
    fs::write(folder.0.path().join("README.md"), "not a part of it").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ls | grep -E '\\.(json|safetensors|jinja)$' | LC_ALL=C sort | xargs sha256sum | sha256sum"])
        .current_dir(folder.0.path())
        .output()
        .unwrap();
    let mut heard = Vec::new();
    let progress = &mut |progress| heard.push(progress);
    let loaded = load(folder.0.path(), setup(Activations::F32), progress).unwrap();
    let digest: String = loaded.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&digest));
    assert!(heard.is_sorted_by_key(|progress| progress.done));
    assert!(heard.iter().all(|progress| progress.done <= progress.total));
}

#[test]
fn llama3_scaling_in_config_is_the_reference() {
    let model = TinyModel {
        vectors: vec![("rope_freqs.weight", reference::llama3_divisors(16))],
        ..tiny(Architecture::Llama)
    };
    let scaling = "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \
                   \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \
                   \"original_max_position_embeddings\": 64}";
    let folder = Folder::new(&model, FloatType::F32, 1, &[scaling]);
    check_loaded(&model, &*folder.load().unwrap().model);
}

fn refuses(model: TinyModel, change: impl Fn(&Path), expected: Expect) {
    let folder = Folder::new(&model, FloatType::F32, 2, &[]);
    change(folder.0.path());
    let error = folder.load().err().unwrap();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    expected.assert_eq(&format!("{error}{}", source.unwrap_or_default()));
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    let replace = |folder: &Path, name: &str, old: &str, new: &str| {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{old} is in {name}");
        fs::write(path, text.replace(old, new)).unwrap();
    };
    let llama = || tiny(Architecture::Llama);
    refuses(
        llama(),
        |folder| replace(folder, "config.json", "\"llama\"", "\"mamba\""),
        expect![
            "architecture `mamba` is not supported; this build runs: llama, qwen2, qwen3, gemma3, phi3"
        ],
    );
    refuses(
        llama(),
        |folder| fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap(),
        expect!["the model's folder has no model-00002-of-00002.safetensors"],
    );
    refuses(
        llama(),
        |folder| fs::remove_file(folder.join("model.safetensors.index.json")).unwrap(),
        expect!["the model's folder has no model.safetensors"],
    );
    refuses(
        llama(),
        |folder| replace(folder, "model.safetensors.index.json", "model-00002", "../model-00002"),
        expect![
            "model.safetensors.index.json is not sound: `../model-00002-of-00002.safetensors` is no file of the folder"
        ],
    );
    refuses(
        llama(),
        |folder| fs::write(folder.join("model-00001-of-00002.safetensors"), "no tensors").unwrap(),
        expect!["model-00001-of-00002.safetensors is not sound: header too large"],
    );
    refuses(
        llama(),
        |folder| replace(folder, "config.json", "\"hidden_size\": 64", "\"hidden_size\": 96"),
        expect!["tensor `model.embed_tokens.weight` has the shape [64, 267], not [96, 267]"],
    );
}
