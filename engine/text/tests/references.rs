//! Our ids against those of two independent tokenizers, on text that tokenizers get wrong.
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
    /// The pre-tokenizer.
    pre: String,
    /// Whether the texts of control tokens are control tokens.
    is_markup: bool,
    /// For each text, as far as the reference was asked.
    ids: Vec<Vec<u32>>,
}

/// Hugging Face's library and llama.cpp agree on everything but one thing. SmolLM2's vocabulary
/// has no token for 21 bytes (some control characters, and bytes that begin no assigned
/// character). Both drop them, but Hugging Face's library then merges what was left and right
/// of them, and llama.cpp does not. The model was trained with Hugging Face's, so we follow it.
const DISAGREEMENT: &str = "controls";

#[test]
fn ids_are_those_of_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let answer = ask(folder.path());
    let mut failures = Vec::new();
    for reference in &answer.references {
        let file = folder.path().join(format!("{}.gguf", reference.pre));
        let json = folder.path().join(&reference.pre);
        let of = |path: &Path| Tokenizer::from_gguf(&GgufHeader::read(path).unwrap()).unwrap();
        let from_json = (reference.by == "hugging_face").then(|| of(&json));
        let tokenizer = if file.exists() { of(&file) } else { of(&json) };
        let control = if reference.is_markup { Control::Except(&[]) } else { Control::Never };
        assert!(reference.ids.len() > 20, "the reference answers for all texts");
        for ((name, text), expected) in answer.texts.iter().zip(&reference.ids) {
            if reference.by == "llama_cpp" && name == DISAGREEMENT {
                continue;
            }
            let got = tokenizer.encode(text, control);
            if let Some(from_json) = &from_json {
                assert!(from_json.encode(text, control) == got, "{} {name}", reference.pre);
            }
            if got != *expected {
                let what = format!("{} {} {}", reference.by, reference.pre, reference.is_markup);
                failures.push(difference(&what, name, &got, expected));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn difference(what: &str, name: &str, got: &[u32], expected: &[u32]) -> String {
    let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let near = |ids: &[u32]| ids[same.saturating_sub(3)..ids.len().min(same + 5)].to_vec();
    format!("{what}, {name}, at {same}: {:?} instead of {:?}", near(got), near(expected))
}

fn ask(folder: &Path) -> Answer {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let model = std::env::var_os("HANSE_MODEL").map_or_else(
        || {
            let folder = workspace.join("data/models/smollm2-135m-instruct");
            folder.join("SmolLM2-135M-Instruct.Q4_1.gguf")
        },
        PathBuf::from,
    );
    let python = std::env::var_os("HANSE_PYTHON")
        .map_or_else(|| workspace.join(".venv/bin/python"), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references.py");
    for path in [&model, &python] {
        assert!(path.exists(), "{} is missing: run `tests/run` once", path.display());
    }
    let output = Command::new(python)
        .args([script.as_path(), &model, folder])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "references.py failed: {complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}
