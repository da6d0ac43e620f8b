//! Vectors as OpenAI's API writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine_api::Usage;
use serde::Serialize;

use super::request::Encoding;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
    model: &'a str,
    usage: UsageShape,
}

#[derive(Serialize)]
struct Entry<'a> {
    object: &'static str,
    index: usize,
    embedding: Numbers<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    /// Each as short as it can be read back exactly.
    Floats(&'a [f32]),
    /// Little-endian 32-bit floats.
    Base64(String),
}

#[derive(Serialize)]
struct UsageShape {
    prompt_tokens: u32,
    total_tokens: u32,
}

impl<'a> Numbers<'a> {
    fn of(vector: &'a [f32], encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float => Self::Floats(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|one| one.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// The body.
pub(super) fn json(model: &str, vectors: &[Vec<f32>], usage: Usage, encoding: Encoding) -> Vec<u8> {
    let list = List {
        object: "list",
        data: vectors
            .iter()
            .enumerate()
            .map(|(index, vector)| Entry {
                object: "embedding",
                index,
                embedding: Numbers::of(vector, encoding),
            })
            .collect(),
        model,
        usage: UsageShape { prompt_tokens: usage.prompt_tokens, total_tokens: usage.prompt_tokens },
    };
    serde_json::to_vec(&list).expect("strings and finite numbers become JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_hold_the_same_bits() {
        let vectors = vec![vec![0.1, -1.0], vec![f32::MIN_POSITIVE, 3.0e-39]];
        let usage = Usage { prompt_tokens: 7, ..Usage::default() };
        let text = |encoding| String::from_utf8(json("m", &vectors, usage, encoding));
        assert_eq!(
            text(Encoding::Float).as_deref(),
            Ok("{\"object\":\"list\",\"data\":[\
                {\"object\":\"embedding\",\"index\":0,\"embedding\":[0.1,-1.0]},\
                {\"object\":\"embedding\",\"index\":1,\"embedding\":[1.1754944e-38,3e-39]}],\
                \"model\":\"m\",\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}")
        );
        assert_eq!(
            text(Encoding::Base64).as_deref(),
            Ok("{\"object\":\"list\",\"data\":[\
                {\"object\":\"embedding\",\"index\":0,\"embedding\":\"zczMPQAAgL8=\"},\
                {\"object\":\"embedding\",\"index\":1,\"embedding\":\"AACAAMiqIAA=\"}],\
                \"model\":\"m\",\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}")
        );
    }
}
