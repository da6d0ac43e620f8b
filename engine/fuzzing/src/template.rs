//! A chat template, and what a client writes into it.

use engine_api::{Conversation, Message, Role};
use engine_chat::{Template, TemplateLimits, TemplateOptions};

/// Cheap, so that a fuzzer gets on; the same bounds, only smaller.
const LIMITS: TemplateLimits = TemplateLimits {
    source_bytes_max: 16 * 1024,
    nesting_max: 64,
    operators_max: 400,
    fuel: 20_000,
    output_bytes_max: 64 * 1024,
};
const CONTROL: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// Compiles what stands before the first NUL and renders what stands after it as a message.
pub fn render(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (source, content) = input.split_once('\0').unwrap_or((input, "Hello <|im_end|>"));
    let options = TemplateOptions {
        control_strings: CONTROL.map(str::to_owned).to_vec(),
        bos: Some("<s>".to_owned()),
        eos: Some("</s>".to_owned()),
        limits: LIMITS,
    };
    let Ok(template) = Template::compile_with(source, options) else { return };
    let message = Message {
        role: Role::User,
        content: Some(content.to_owned()),
        reasoning: None,
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    let conversation = Conversation { messages: vec![message], tools: Vec::new() };
    let Ok(rendered) = template.render(&conversation, 1_700_000_000) else { return };
    assert!(rendered.text.len() <= LIMITS.output_bytes_max);
    assert!(rendered.literal_at.is_sorted());
    for at in rendered.literal_at {
        let rest = &rendered.text[at..];
        assert!(CONTROL.iter().any(|text| rest.starts_with(text)), "a mark at a control string");
    }
}
