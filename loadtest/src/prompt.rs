//! What is asked.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

use crate::options::Options;

/// Words of a production line, all common enough to be about one token each.
const WORDS: [&str; 40] = [
    "valve", "pump", "sensor", "torque", "axis", "robot", "weld", "cell", "line", "pallet",
    "spindle", "coolant", "bearing", "shift", "lot", "quality", "camera", "drive", "motor",
    "fault", "alarm", "recipe", "batch", "part", "station", "buffer", "belt", "grip", "tool",
    "change", "setup", "cycle", "time", "scrap", "rework", "order", "press", "mould", "heat",
    "flow",
];

/// Makes request bodies: a function of the options and of a request's number.
#[derive(Clone, Debug)]
pub struct Prompts {
    model: String,
    words: u32,
    output_tokens: u32,
    ignore_eos: bool,
    temperature: f32,
    seed: u64,
}

impl Prompts {
    /// Prompts for one model.
    pub fn new(options: &Options, model: String) -> Self {
        Self {
            model,
            words: options.prompt_words,
            output_tokens: options.output_tokens,
            ignore_eos: !options.allow_eos,
            temperature: options.temperature,
            seed: options.seed,
        }
    }

    /// The body of request `number`. No two are alike, so that no cache answers them.
    pub fn body(&self, number: u64) -> Bytes {
        let mut rng = StdRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let words: Vec<&str> =
            (0..self.words).filter_map(|_| WORDS.choose(&mut rng).copied()).collect();
        let body = json!({
            "model": self.model,
            "messages": [{"role": "user", "content": words.join(" ")}],
            "max_tokens": self.output_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "ignore_eos": self.ignore_eos,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        body.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[test]
    fn bodies_are_a_function_of_seed_and_number() {
        let make = |seed: &str| {
            let line = ["loadtest", "--prompt-words", "20", "--seed", seed, "--allow-eos"];
            Prompts::new(&Options::parse_from(line), "m".into())
        };
        let body = make("3").body(5);
        assert_eq!(body, make("3").body(5));
        assert_ne!(body, make("3").body(6));
        assert_ne!(body, make("4").body(5));
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["messages"][0]["content"].as_str().unwrap().split(' ').count(), 20);
        assert_eq!(value["ignore_eos"], false);
    }
}
