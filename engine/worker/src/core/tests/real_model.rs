//! A real model under grammars.

use std::path::Path;

use engine_api::{Constraint, Seed};
use engine_kernels::Activations;
use engine_text::Control;
use serde_json::Value;

use super::*;

/// SmolLM2, wherever the model tests find it.
fn smollm2() -> Core {
    let default = "data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
    let path = std::env::var_os("HANSE_MODEL").map(std::path::PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = path.unwrap_or_else(|| workspace.join(default));
    assert!(model.is_file(), "no model at {}: run tests/run, which fetches it", model.display());
    let config = CoreConfig {
        model,
        device: DeviceName::of_tests().unwrap(),
        kv_bytes: 256 << 20,
        kv_kind: None,
        context_max: None,
        threads: 2,
        step_tokens_max: CoreConfig::STEP_TOKENS_MAX,
        queue_max: bench::QUEUE_MAX,
        draft_tokens_max: CoreConfig::DRAFT_TOKENS_MAX,
        activations: Activations::Int8,
        packed: None,
    };
    Core::load(&config, &mut |_| {}).unwrap()
}

const CALL: &str = r#"start: "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " arguments "}\n</tool_call>"
arguments: %json {"type":"object","properties":{"city":{"type":"string","maxLength":40},"unit":{"enum":["celsius","fahrenheit"]},"days":{"type":"integer","minimum":1,"maximum":7}},"required":["city","unit"],"additionalProperties":false,"x-guidance":{"whitespace_flexible":false,"item_separator":", ","key_separator":": "}}"#;

fn asked(core: &Core, id: &str, temperature: f32, seed: u64) -> Submission {
    let text = "<|im_start|>user\nWhat is the weather in Lisbon tomorrow? Call the tool \
                get_weather with city and unit.<|im_end|>\n<|im_start|>assistant\n";
    let ids = core.tokenizer.encode(text, Control::Except(&[]));
    let mut wanted = submission(id, &ids);
    wanted.prompt.model_digest = core.card().digest;
    wanted.prompt.max_tokens = 200;
    wanted.stopping.max_tokens = MaxTokens::new(200).unwrap();
    wanted.sampling.temperature = Temperature::new(temperature).unwrap();
    wanted.sampling.seed = Seed(seed);
    wanted.constraint = Some(Constraint::new(CALL).unwrap());
    wanted
}

/// The text and the tokens of each request, by its name, and how many steps they took.
fn run(core: &mut Core) -> (BTreeMap<String, (String, Vec<u32>)>, usize) {
    let mut said: BTreeMap<String, (String, Vec<u32>)> = BTreeMap::new();
    let mut steps = 0;
    while !core.is_idle() {
        steps += 1;
        for (key, event) in core.step() {
            let (text, ids) = said.entry(key.request.as_str().to_owned()).or_default();
            match event {
                CoreEvent::Token(token) => {
                    text.push_str(&token.text);
                    ids.push(token.id.0);
                }
                CoreEvent::Finished(end) => {
                    assert_eq!(end.reason, FinishReason::Stop, "{text}");
                    text.push_str(&end.text);
                }
                CoreEvent::Failed(error) => panic!("{error}"),
                CoreEvent::Started { .. } | CoreEvent::Usage(..) | CoreEvent::Embedded(_) => {}
            }
        }
    }
    (said, steps)
}

#[test]
fn it_calls_a_tool_at_any_temperature() {
    let mut core = smollm2();
    let mut alone = BTreeMap::new();
    for (number, temperature) in [0.0, 0.7, 1.0, 2.0, 2.0].into_iter().enumerate() {
        let wanted = asked(&core, &number.to_string(), temperature, number as u64);
        core.submit(bench::key(&number.to_string()), wanted, Vec::new()).unwrap();
        let (said, steps) = run(&mut core);
        let (text, ids) = &said[&number.to_string()];
        println!("{temperature}: {} tokens in {steps} steps: {text}", ids.len());
        let call = text.strip_prefix("<tool_call>\n").unwrap().strip_suffix("\n</tool_call>");
        let call: Value = serde_json::from_str(call.unwrap()).unwrap();
        assert_eq!(call["name"], "get_weather");
        let arguments = &call["arguments"];
        assert!(arguments["city"].as_str().unwrap().chars().count() <= 40);
        assert!(["celsius", "fahrenheit"].contains(&arguments["unit"].as_str().unwrap()));
        assert!(
            arguments["days"].is_null() || (1..=7).contains(&arguments["days"].as_i64().unwrap())
        );
        assert!(steps < ids.len(), "what is forced comes in chunks");
        alone.extend(said);
    }
    for (number, temperature) in [0.0, 0.7, 1.0, 2.0, 2.0].into_iter().enumerate() {
        let wanted = asked(&core, &number.to_string(), temperature, number as u64);
        core.submit(bench::key(&number.to_string()), wanted, Vec::new()).unwrap();
    }
    assert_eq!(run(&mut core).0, alone, "together as alone");
}
