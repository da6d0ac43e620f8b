//! Gemma's vocabulary of 262,144 pieces: our ids against those of two independent tokenizers.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use engine_text::{Control, GgufHeader, Tokenizer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    /// Name and text.
    texts: Vec<(String, String)>,
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    by: String,
    /// For each text.
    ids: Vec<Vec<u32>>,
}

fn of(path: &Path) -> Tokenizer {
    Tokenizer::from_gguf(&GgufHeader::read(path).unwrap()).unwrap()
}

#[test]
fn pieces_are_those_of_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let default = "data/models/gemma3-270m/gemma-3-270m-q4_k_m.gguf";
    let model =
        std::env::var_os("HANSE_GEMMA").map_or_else(|| workspace.join(default), PathBuf::from);
    let python = std::env::var_os("HANSE_PYTHON")
        .map_or_else(|| workspace.join(".venv/bin/python"), PathBuf::from);
    for path in [&model, &python] {
        assert!(path.exists(), "{} is missing: run `tests/run` once", path.display());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pieces.py");
    let output = Command::new(python)
        .args([script.as_path(), &model, folder.path()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pieces.py failed: {complaint}");
    let answer: Answer = serde_json::from_slice(&output.stdout).unwrap();
    let ours = [("gguf", of(&model)), ("json", of(&folder.path().join("json")))];
    let mut failures = Vec::new();
    for reference in &answer.references {
        assert!(reference.ids.len() > 20, "the reference answers for all texts");
        for ((name, text), expected) in answer.texts.iter().zip(&reference.ids) {
            for (source, tokenizer) in &ours {
                let got = tokenizer.encode(text, Control::Never);
                if got != *expected {
                    let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
                    failures.push(format!("{source}, {}, {name}, at {same}", reference.by));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
