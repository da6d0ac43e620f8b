//! Which formats the templates of the corpus ask for.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use engine_chat::{CallFormat, ReasoningFormat, begins_in_reasoning, detect};
use expect_test::expect;

fn table(folder: &Path) -> String {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap()).collect();
    files.sort_by_key(|file| file.file_name());
    let mut table = String::new();
    for file in files {
        let detected = detect(&std::fs::read_to_string(file.path()).unwrap());
        let name = file.file_name().into_string().unwrap();
        let (calls, reasoning) = (detected.calls.name(), detected.reasoning.name());
        let tools = if detected.renders_tools { "tools" } else { "-" };
        writeln!(table, "{name:24} {calls:12} {reasoning:8} {tools}").unwrap();
    }
    table
}

#[test]
fn each_template_has_its_format() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/templates"));
    expect![[r#"
        command_r.jinja          json         none     -
        dated.jinja              json         think    tools
        deepseek_r1.jinja        deepseek     think    -
        deepseek_v3.jinja        deepseek     think    tools
        from_json.jinja          json         none     -
        gemma2.jinja             gemma        none     -
        gemma3.jinja             gemma        none     -
        gpt_oss.jinja            harmony      none     tools
        hermes3.jinja            hermes       none     tools
        llama31.jinja            llama3_json  none     tools
        llama32_pythonic.jinja   pythonic     none     tools
        mistral_v3.jinja         mistral      none     tools
        mistral_v7.jinja         mistral      none     tools
        phi3.jinja               json         none     -
        phi4.jinja               json         none     -
        qwen25.jinja             hermes       none     tools
        qwen3.jinja              hermes       think    tools
        qwen3_coder.jinja        qwen         none     tools
        smollm2.jinja            json         none     -
        tools.jinja              hermes       none     tools
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
