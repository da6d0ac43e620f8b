#![allow(clippy::unwrap_used, reason = "tests")]

use engine_api::{Delivery, FunctionCall, PrepareRequest, Prompt, PromptSource, ToolCall};
use serde_json::json;

use super::super::tests::{load_with, request};
use super::*;
use crate::turns::Turns;

/// A model with room for what tools take to be told.
fn load(template: Option<&str>) -> Model {
    load_as(template, None, ReasoningFormat::None)
}

fn load_as(template: Option<&str>, calls: Option<CallFormat>, reasoning: ReasoningFormat) -> Model {
    let formats = |config: &mut crate::FleetModel| {
        config.calls = calls;
        config.reasoning = Some(reasoning).filter(|format| *format != ReasoningFormat::None);
    };
    let mut model = load_with(template, formats).unwrap();
    (model.card.context, model.prompt_bytes_max) = (1 << 20, 1 << 22);
    model
}

fn turn(role: Role, content: &str) -> Message {
    Message { role, ..told_by_operator(content.to_owned()) }
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
}

fn asked(messages: Vec<Message>, tools: &[Value], demand: Demand) -> PrepareRequest {
    let chat = Conversation { messages, tools: tools.to_vec() };
    PrepareRequest { demand, ..request(PromptSource::Chat(chat)) }
}

fn prepare(model: &Model, request: &PrepareRequest) -> Result<Prompt, EngineError> {
    model.prepare(request, &Turns::new(0))
}

/// What the model reads, without control tokens.
fn text(model: &Model, prompt: &Prompt) -> String {
    model.tokenizer.decode(&prompt.ids.iter().map(|id| id.0).collect::<Vec<_>>())
}

fn of_choice(choice: ToolChoice) -> Demand {
    Demand { choice, ..Demand::default() }
}

#[test]
fn a_template_that_knows_no_tools_is_told_of_them() {
    // only what a template asks for is in its prompt
    let model = load(None);
    let chat = |system: &[Message], choice| {
        let messages = [system, &[turn(Role::User, "hi")]].concat();
        prepare(&model, &asked(messages, &[tool("find")], of_choice(choice))).unwrap()
    };
    let prompt = chat(&[], ToolChoice::Auto);
    assert!(text(&model, &prompt).starts_with("system\n# Tools\n"), "{}", text(&model, &prompt));
    assert!(text(&model, &prompt).contains("\"name\": \"find\""));
    let prompt = chat(&[turn(Role::System, "be kind")], ToolChoice::Auto);
    assert!(text(&model, &prompt).starts_with("system\nbe kind\n\n# Tools\n"));
    let none = chat(&[], ToolChoice::None);
    assert_eq!(text(&model, &none), "user\nhi\nassistant\n");
    assert_eq!(none.answer.constraint, None);
    let strict = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}\
                  {% endif %}{{ m.role + ':' + m.content }}{% endfor %}";
    let strict = load(Some(strict));
    let messages = vec![turn(Role::User, "hi")];
    let prompt = prepare(&strict, &asked(messages, &[tool("find")], Demand::default())).unwrap();
    let text = text(&strict, &prompt);
    assert!(text.starts_with("user:# Tools\n") && text.ends_with("\n\nhi"), "{text}");
}

#[test]
fn calls_and_results_are_told_where_the_template_cannot() {
    let model = load(None);
    let function = FunctionCall { name: "find".into(), arguments: "{\"x\": 1}".into() };
    let call = ToolCall { id: "c".into(), function };
    let mut called = turn(Role::Assistant, "");
    (called.content, called.tool_calls) = (None, vec![call]);
    let mut result = turn(Role::Tool, "it is there");
    result.tool_call_id = Some("c".into());
    let messages = vec![turn(Role::User, "hi"), called, result];
    let prompt = prepare(&model, &asked(messages, &[], Demand::default())).unwrap();
    assert_eq!(
        text(&model, &prompt),
        "user\nhi\nassistant\n{\"tool_calls\": [{\"name\": \"find\", \"arguments\": {\"x\": 1}}]}\n\
         user\nResult of `find`:\nit is there\nassistant\n"
    );
}

#[test]
fn a_demand_becomes_a_constraint_and_a_way_to_read() {
    let model = load(None);
    let form = |tools: &[Value], demand| {
        let messages = vec![turn(Role::User, "hi")];
        prepare(&model, &asked(messages, tools, demand)).unwrap().answer
    };
    assert_eq!(form(&[], Demand::default()).constraint, None);
    assert!(form(&[], Demand::default()).reading.is_all_content());
    let tools = [tool("find"), tool("look")];
    let required = form(&tools, of_choice(ToolChoice::Required));
    assert!(required.constraint.unwrap().as_str().contains("find"));
    assert_eq!(required.demanded_by, Some("tools"));
    assert_eq!(required.reading.calls, Some(CallFormat::OwnJson));
    assert_eq!(required.reading.delivery, Delivery::AsTheyCome);
    assert!(required.reading.tools.len() == 2 && !required.reading.is_single);
    let named = form(&tools, of_choice(ToolChoice::Named("look".into())));
    assert_eq!(&named.reading.tools[..], &tools[1..]);
    assert!(named.reading.is_single);
    let json = Demand { response: ResponseFormat::JsonObject, ..Demand::default() };
    let form = form(&[], json.clone());
    assert!(form.constraint.is_some() && form.reading.is_all_content());
    assert_eq!(form.demanded_by, Some("response_format"));
    let continued = PrepareRequest { demand: json, ..request(PromptSource::Text("x".into())) };
    assert!(prepare(&model, &continued).unwrap().answer.constraint.is_some());
}

#[test]
fn the_operator_knows_formats_better() {
    let model = load_as(None, Some(CallFormat::Hermes), ReasoningFormat::Think);
    let messages = || vec![turn(Role::User, "hi")];
    let demand = of_choice(ToolChoice::Required);
    let prompt = prepare(&model, &asked(messages(), &[tool("find")], demand)).unwrap();
    let reading = prompt.answer.reading;
    assert_eq!(
        (reading.calls, reading.reasoning),
        (Some(CallFormat::Hermes), ReasoningFormat::Think)
    );
    assert!(prompt.answer.constraint.unwrap().as_str().contains("<tool_call>"));
    let begun = load(Some("{{ messages[0].content }}<think>\n</think>\n<think>\n"));
    let prompt = prepare(&begun, &asked(messages(), &[], Demand::default())).unwrap();
    assert!(prompt.answer.reading.begins_in_reasoning);
    // control tokens that the parser looks for are written out
    assert_eq!(model.control_id("<|im_end|>"), Some(TokenId(2)));
    assert_eq!((model.control_id("hi"), model.control_id("<tool_call>")), (None, None));
}

#[test]
fn a_template_gets_its_arguments() {
    let source = "{{ messages[0].content }}{% if enable_thinking is false %} quick{% endif %}\
                  {% if reasoning_effort %} {{ reasoning_effort }}{% endif %}";
    let model = load(Some(source));
    let mut demand = Demand::default();
    demand.arguments.thinking = Some(false);
    demand.arguments.reasoning_effort = Some(engine_api::ReasoningEffort::Low);
    let messages = vec![turn(Role::User, "hi")];
    let prompt = prepare(&model, &asked(messages, &[], demand)).unwrap();
    assert_eq!(text(&model, &prompt), "hi quick low");
}

#[test]
fn demands_that_cannot_be_met_name_their_field() {
    let model = load(None);
    let refused = |tools: &[Value], demand: Demand| {
        let request = asked(vec![turn(Role::User, "hi")], tools, demand);
        match prepare(&model, &request).unwrap_err() {
            EngineError::Invalid { param, message } => (param, message),
            other => panic!("{other}"),
        }
    };
    let (param, message) = refused(&[tool("a b")], Demand::default());
    assert!(param == "tools" && message.contains("`tools[0].function.name`"), "{message}");
    let (param, _) = refused(&[tool("a")], of_choice(ToolChoice::Named("b".into())));
    assert_eq!(param, "tool_choice");
    let not = ResponseFormat::JsonSchema(json!({ "not": {} }));
    let (param, message) = refused(&[], Demand { response: not, ..Demand::default() });
    assert!(param == "response_format" && message.contains("`not`"), "{message}");
    let long = json!({ "enum": ["x".repeat(200_000)] });
    let tool = |name: &str| {
        json!({ "function": { "name": name, "parameters": { "type": "object",
        "properties": { "x": long } } } })
    };
    let tools = [tool("a"), tool("b"), tool("c")];
    let request = asked(vec![turn(Role::User, "hi")], &tools, of_choice(ToolChoice::Required));
    let error = prepare(&model, &request).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}
