//! Our renderings against those of Python's Jinja (see renderings.py).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use engine_api::{
    Conversation, FunctionCall, Message, ReasoningEffort, Role, TemplateArguments, ToolCall,
};
use engine_chat::{Template, TemplateError, TemplateOptions};
use engine_text::GgufHeader;
use serde_json::Value;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

fn source(folder: &Path, template: &str) -> String {
    std::fs::read_to_string(folder.join(format!("templates/{template}.jinja"))).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn conversation(json: &Value) -> Conversation {
    let tool_call = |call: &Value| ToolCall {
        id: text(&call["id"]).unwrap(),
        function: FunctionCall {
            name: text(&call["function"]["name"]).unwrap(),
            arguments: text(&call["function"]["arguments"]).unwrap(),
        },
    };
    let message = |message: &Value| Message {
        role: serde_json::from_value(message["role"].clone()).unwrap(),
        content: text(&message["content"]),
        reasoning: None,
        name: text(&message["name"]),
        tool_calls: items(&message["tool_calls"]).map(tool_call).collect(),
        tool_call_id: text(&message["tool_call_id"]),
    };
    Conversation {
        messages: items(&json["messages"]).map(message).collect(),
        tools: items(&json["tools"]).cloned().collect(),
    }
}

fn arguments(json: &Value) -> TemplateArguments {
    let effort = json["reasoning_effort"].as_str().map(|name| match name {
        "low" => ReasoningEffort::Low,
        "high" => ReasoningEffort::High,
        other => panic!("{other}"),
    });
    TemplateArguments {
        documents: items(&json["documents"]).cloned().collect(),
        thinking: json["thinking"].as_bool(),
        reasoning_effort: effort,
    }
}

/// Compares all of a folder's renderings. Says how many templates there are, and where they
/// differ.
fn compare(folder: &Path) -> (usize, Vec<String>) {
    let file = std::fs::read_to_string(folder.join("renderings.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let mut templates = HashMap::new();
    let mut differences = Vec::new();
    for rendering in items(&file["renderings"]) {
        let name = rendering["template"].as_str().unwrap();
        let template = templates.entry(name).or_insert_with(|| {
            let (bos, eos) = (text(&file["bos"]), text(&file["eos"]));
            let options = TemplateOptions { bos, eos, ..Default::default() };
            Template::compile_with(&source(folder, name), options)
        });
        let of = rendering["conversation"].as_str().unwrap();
        let json = &file["conversations"][of];
        let (conversation, arguments) = (conversation(json), arguments(&json["arguments"]));
        let now = file["now"].as_i64().unwrap();
        let got = template.as_ref().map_err(Clone::clone);
        let got = got.and_then(|template| template.render_with(&conversation, &arguments, now));
        let is_same = match (rendering["text"].as_str(), rendering["raised"].as_str()) {
            (Some(text), _) => got.as_ref().is_ok_and(|got| got.text == text),
            (_, Some(message)) => got == Err(TemplateError::Raised(message.into())),
            // what Python cannot do either: null is no text
            _ => matches!(got, Err(TemplateError::Failed { .. })),
        };
        if !is_same {
            differences.push(format!("{name}, {of}:\n  {got:?}\n  {rendering}"));
        }
    }
    (templates.len(), differences)
}

#[test]
fn renderings_are_those_of_python() {
    let (templates, differences) = compare(folder());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(templates, 20);
}

/// Templates that are not in the repository: `HANSE_RENDERINGS` names a folder with
/// `templates/` and the `renderings.json` that `renderings.py` wrote there.
#[test]
fn other_renderings_are_those_of_python() {
    if let Some(folder) = std::env::var_os("HANSE_RENDERINGS") {
        let (templates, differences) = compare(Path::new(&folder));
        println!("{templates} templates, {} differences", differences.len());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// JSON that a client wrote can spell a control token without writing it.
#[test]
fn what_is_decoded_is_no_markup() {
    let source = "{% set x = messages[0].content | fromjson %}{{ x.a ~ x.b }}<|im_end|>{{ x.c }}";
    let template = Template::compile(source, ["<|im_end|>"]).unwrap();
    let conversation = |content: &str| Conversation {
        messages: vec![Message {
            role: Role::User,
            content: Some(content.to_owned()),
            reasoning: None,
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }],
        tools: Vec::new(),
    };
    let content = r#"{"a": "\u003c|im_end|>", "b": "<|im_", "c": "\u003c|im_end|\u003e"}"#;
    let rendered = template.render(&conversation(content), 0).unwrap();
    assert_eq!(rendered.text, "<|im_end|><|im_<|im_end|><|im_end|>");
    assert_eq!(rendered.literal_at, [0, 25]);
    let refused = template.render(&conversation("{"), 0).unwrap_err();
    assert!(refused.to_string().contains("fromjson: the text is no JSON"), "{refused}");
}

#[test]
fn a_long_conversation_is_within_the_bounds() {
    let turn = |index: usize| Message {
        role: if index.is_multiple_of(2) { Role::User } else { Role::Assistant },
        content: Some("word ".repeat(800)),
        reasoning: None,
        name: Some(format!("speaker {}", index % 7)),
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    let messages = (0..1001).map(turn).collect();
    let long = Conversation { messages, tools: vec![serde_json::json!({ "type": "function" })] };
    for name in ["smollm2", "tools"] {
        let template = Template::compile(&source(folder(), name), ["<|im_end|>"]).unwrap();
        assert!(template.render(&long, 0).unwrap().text.len() > 4_000_000, "{name}");
    }
}

#[test]
fn the_template_is_the_one_in_the_model_file() {
    let model = std::env::var_os("HANSE_MODEL").map_or_else(
        || {
            let model = "data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join(model)
        },
        PathBuf::from,
    );
    assert!(model.exists(), "{} is missing: run `tests/run` once", model.display());
    let header = GgufHeader::read(&model).unwrap();
    assert_eq!(header.text("tokenizer.chat_template"), Some(source(folder(), "smollm2").as_str()));
}
