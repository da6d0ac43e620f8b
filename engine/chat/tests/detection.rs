//! Which formats the templates of the corpus ask for.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use engine_api::{
    CallFormat, Conversation, FunctionCall, Message, ReasoningFormat, Role, ToolCall,
};
use engine_chat::{
    OutputParser, ParserOptions, Template, TemplateOptions, Tools, begins_in_reasoning, detect,
};
use expect_test::expect;
use serde_json::{Value, json};

fn table(folder: &Path) -> String {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap()).collect();
    files.sort_by_key(|file| file.file_name());
    let mut table = String::new();
    for file in files {
        let detected = detect(&std::fs::read_to_string(file.path()).unwrap());
        let name = file.file_name().into_string().unwrap();
        let (calls, reasoning) = (detected.calls.name(), detected.reasoning.name());
        let tools = if detected.renders_tools { "tools" } else { "-" };
        let renders = if detected.renders_calls { "calls" } else { "-" };
        writeln!(table, "{name:24} {calls:12} {reasoning:8} {tools:6} {renders}").unwrap();
    }
    table
}

#[test]
fn each_template_has_its_format() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/templates"));
    expect![[r#"
        command_r.jinja          json         none     -      -
        dated.jinja              json         think    tools  -
        deepseek_r1.jinja        deepseek     think    -      calls
        deepseek_v3.jinja        deepseek     think    tools  calls
        from_json.jinja          json         none     tools  -
        gemma2.jinja             gemma        none     -      -
        gemma3.jinja             gemma        none     -      -
        gpt_oss.jinja            harmony      none     tools  calls
        hermes3.jinja            hermes       none     tools  calls
        llama31.jinja            llama3_json  none     tools  calls
        llama32_pythonic.jinja   pythonic     none     tools  calls
        mistral_v3.jinja         mistral      none     tools  calls
        mistral_v7.jinja         mistral      none     tools  calls
        phi3.jinja               json         none     -      -
        phi4.jinja               json         none     -      -
        qwen25.jinja             hermes       none     tools  calls
        qwen3.jinja              hermes       think    tools  calls
        qwen3_coder.jinja        qwen         none     tools  calls
        smollm2.jinja            json         none     -      -
        tools.jinja              hermes       none     tools  calls
    "#]]
    .assert_eq(&table(folder));
}

/// As `other_renderings_are_those_of_python`; nothing is expected of other templates but that
/// they can be read.
#[test]
fn other_templates_have_a_format() {
    if let Some(folder) = std::env::var_os("HANSE_RENDERINGS") {
        print!("{}", table(&Path::new(&folder).join("templates")));
    }
}

#[test]
fn words_in_texts_are_no_variables() {
    let renders = |source: &str| detect(source).renders_tools;
    assert!(renders("{% if tools %}{% endif %}"));
    assert!(renders("{% for tool in tools %}{% endfor %}"));
    assert!(renders("{{ 'tools' ~ tools | tojson }}"));
    assert!(!renders(
        "tools {{ 'tools' }} {# tools #} {{ message.tools }} {{ tools_x }} {{ x['tools'] }}"
    ));
    assert!(!renders("{% raw %}{{ tools }}{% endraw %}"));
    assert_eq!(detect("").calls, CallFormat::OwnJson);
}

#[test]
fn a_prompt_can_begin_the_reasoning() {
    assert!(begins_in_reasoning("<｜Assistant｜><think>\n", ReasoningFormat::Think));
    assert!(!begins_in_reasoning("<think>\n\n</think>\n\n", ReasoningFormat::Think));
    assert!(!begins_in_reasoning("<think>\n", ReasoningFormat::None));
    assert!(begins_in_reasoning("[THINK]", ReasoningFormat::Mistral));
}

const ARGUMENTS: &str = r#"{"place": "Köln", "days": 2}"#;

fn weather() -> Value {
    let properties = json!({ "place": { "type": "string" }, "days": { "type": "integer" } });
    let parameters = json!({ "type": "object", "properties": properties });
    json!({ "type": "function", "function": { "name": "get_weather", "parameters": parameters } })
}

/// What a template makes of a call in the history, from where the model's answer begins.
fn call_in_history(source: &str) -> Option<String> {
    let user = Message {
        role: Role::User,
        content: Some("Weather?".to_owned()),
        reasoning: None,
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    let function = FunctionCall { name: "get_weather".into(), arguments: ARGUMENTS.into() };
    let call = ToolCall { id: "9Ae3bDc2F".into(), function };
    let answer =
        Message { role: Role::Assistant, content: None, tool_calls: vec![call], ..user.clone() };
    let options = TemplateOptions {
        bos: Some(String::new()),
        eos: Some(String::new()),
        ..Default::default()
    };
    let template = Template::compile_with(source, options).ok()?;
    let render = |messages: Vec<Message>| {
        let conversation = Conversation { messages, tools: vec![weather()] };
        Some(template.render(&conversation, 0).ok()?.text)
    };
    let before = render(vec![user.clone()])?;
    let after = render(vec![user, answer])?;
    let before = before.strip_suffix("<think>\n").unwrap_or(&before);
    after.strip_prefix(before).map(str::to_owned)
}

/// What a model reads as its own calls is what the parser reads as calls.
fn reads_its_own_calls(source: &str) -> Option<bool> {
    let written = call_in_history(source)?;
    let detected = detect(source);
    let options = ParserOptions {
        calls: Some(detected.calls),
        reasoning: detected.reasoning,
        tools: Tools::of(&[weather()]),
        ..ParserOptions::default()
    };
    let reply = OutputParser::new(options, |index| index.to_string()).read(&written);
    let [call] = reply.calls.as_slice() else { return Some(false) };
    let arguments: Value = serde_json::from_str(&call.call.function.arguments).unwrap();
    let expected: Value = serde_json::from_str(ARGUMENTS).unwrap();
    Some(call.call.function.name == "get_weather" && arguments == expected)
}

fn calls_in(folder: &Path) -> String {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap()).collect();
    files.sort_by_key(|file| file.file_name());
    let mut table = String::new();
    for file in files {
        let source = std::fs::read_to_string(file.path()).unwrap();
        let result = match reads_its_own_calls(&source) {
            Some(true) => "read",
            Some(false) => "not read",
            None => "no calls",
        };
        writeln!(table, "{:24} {result}", file.file_name().into_string().unwrap()).unwrap();
    }
    table
}

#[test]
fn calls_in_the_history_are_read() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/templates"));
    expect![[r#"
        command_r.jinja          not read
        dated.jinja              not read
        deepseek_r1.jinja        read
        deepseek_v3.jinja        read
        from_json.jinja          no calls
        gemma2.jinja             not read
        gemma3.jinja             not read
        gpt_oss.jinja            read
        hermes3.jinja            read
        llama31.jinja            read
        llama32_pythonic.jinja   not read
        mistral_v3.jinja         read
        mistral_v7.jinja         read
        phi3.jinja               not read
        phi4.jinja               not read
        qwen25.jinja             read
        qwen3.jinja              read
        qwen3_coder.jinja        read
        smollm2.jinja            not read
        tools.jinja              read
    "#]]
    .assert_eq(&calls_in(folder));
    if let Some(folder) = std::env::var_os("HANSE_RENDERINGS") {
        print!("{}", calls_in(&Path::new(&folder).join("templates")));
    }
}
