//! Our word pieces against those of Hugging Face's library, on text that tokenizers get wrong and on every
//! character that there is.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use engine_text::read_encoder;
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    /// Name and text.
    texts: Vec<(String, String)>,
    ids: Vec<Vec<u32>>,
}

#[test]
fn ids_are_those_of_hugging_face() {
    let model = model();
    let (_, pieces) = read_encoder(&model).unwrap();
    let answer = ask(&model);
    assert!(answer.texts.len() > 1000 && answer.texts.len() == answer.ids.len());
    let mut failures = Vec::new();
    for ((name, text), expected) in answer.texts.iter().zip(&answer.ids) {
        let got = pieces.framed(&pieces.encode(text));
        if got != *expected {
            let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let near =
                |ids: &[u32]| pieces.decode(&ids[same.saturating_sub(4)..ids.len().min(same + 5)]);
            failures.push(format!("{name}: {:?} instead of {:?}", near(&got), near(expected)));
        }
    }
    assert!(failures.is_empty(), "{} texts\n{}", failures.len(), failures.join("\n"));
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn model() -> PathBuf {
    let default = || workspace().join("data/models/all-minilm-l6-v2/model");
    std::env::var_os("HANSE_MINILM").map_or_else(default, PathBuf::from)
}

fn ask(model: &Path) -> Answer {
    let python = std::env::var_os("HANSE_PYTHON")
        .map_or_else(|| workspace().join(".venv/bin/python"), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/word_pieces.py");
    for path in [model, &python] {
        assert!(path.exists(), "{} is missing: run `tests/run` once", path.display());
    }
    let output = Command::new(python)
        .args([script.as_path(), model])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "word_pieces.py failed: {complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}
