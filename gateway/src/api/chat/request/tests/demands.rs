//! What is demanded of an answer: tools, its format, and what its template reads.

use super::*;

#[test]
fn every_spelling_of_a_tool_choice_is_read() {
    use engine_api::ToolChoice::{Allowed, Auto, Named, None, Required};
    let tools = json!([function("f"), function("g")]);
    let allowed = |mode: &str| json!({"mode": mode, "tools": [function("g")]});
    let table = [
        (json!(null), Auto),
        (json!("auto"), Auto),
        (json!("none"), None),
        (json!("required"), Required),
        (json!("any"), Required),
        (json!({"type": "function", "function": {"name": "g"}}), Named("g".into())),
        (json!({"type": "function", "name": "g"}), Named("g".into())),
        (
            json!({"type": "allowed_tools", "allowed_tools": allowed("auto")}),
            Allowed { is_required: false, names: vec!["g".into()] },
        ),
        (
            json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}),
            Allowed { is_required: true, names: vec!["f".into()] },
        ),
    ];
    for (choice, expected) in table {
        let fields = json!({"tools": tools, "tool_choice": choice});
        let (request, rendering) = read(fields.clone()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rendering.named_call, matches!(expected, Named(_)));
        assert_eq!(request.demand.choice, expected, "{fields}");
        assert!(request.demand.is_parallel && request.offers_tools());
    }
    let fields = json!({"tools": tools, "parallel_tool_calls": false});
    assert!(!read(fields).expect("valid").0.demand.is_parallel);
}

#[test]
fn functions_are_tools_by_another_name() {
    let functions =
        json!([{"name": "f", "description": "d", "parameters": {}, "x": 1}, {"name": "g"}]);
    let fields = json!({"functions": functions, "function_call": {"name": "g"}});
    let (request, rendering) = read(fields).expect("valid");
    assert!(rendering.legacy_calls && rendering.named_call && !request.demand.is_parallel);
    assert_eq!(request.demand.choice, engine_api::ToolChoice::Named("g".into()));
    let expected = json!([
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}},
        {"type": "function", "function": {"name": "g"}},
    ]);
    assert_eq!(json!(chat(request).tools), expected);
    let (request, _) =
        read(json!({"functions": functions, "function_call": "none"})).expect("valid");
    assert_eq!(request.demand.choice, engine_api::ToolChoice::None);
}

#[test]
fn every_spelling_of_a_response_format_is_read() {
    use engine_api::ResponseFormat::{Choice, Grammar, JsonObject, JsonSchema, Regex, Text};
    let schema = json!({"type": "object"});
    let named = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    let table = [
        (json!({}), Text),
        (json!({"response_format": {"type": "json_object"}}), JsonObject),
        (json!({"response_format": named}), JsonSchema(schema.clone())),
        (
            json!({"response_format": {"type": "json_object", "schema": schema}}),
            JsonSchema(schema.clone()),
        ),
        (json!({"guided_json": schema}), JsonSchema(schema.clone())),
        (json!({"guided_json": schema.to_string()}), JsonSchema(schema.clone())),
        (json!({"guided_regex": "a|b"}), Regex("a|b".into())),
        (json!({"guided_choice": ["a", "b"]}), Choice(vec!["a".into(), "b".into()])),
        (json!({"guided_grammar": "start: /a/"}), Grammar("start: /a/".into())),
        (json!({"structured_outputs": {"json": schema}}), JsonSchema(schema)),
        (json!({"structured_outputs": {"regex": "a"}}), Regex("a".into())),
        (json!({"structured_outputs": {"choice": ["a"]}}), Choice(vec!["a".into()])),
        (json!({"structured_outputs": {"grammar": "start: /a/"}}), Grammar("start: /a/".into())),
    ];
    for (fields, expected) in table {
        let (request, _) = read(fields.clone()).unwrap_or_else(|error| panic!("{fields}: {error}"));
        assert_eq!(request.demand.response, expected, "{fields}");
    }
}

#[test]
fn what_a_template_reads_is_read() {
    use engine_api::ReasoningEffort::{High, Low};
    let arguments = |fields| read(fields).expect("valid").0.demand.arguments;
    assert_eq!(arguments(json!({"reasoning_effort": "low"})).reasoning_effort, Some(Low));
    assert_eq!(arguments(json!({"reasoning_effort": "xhigh"})).reasoning_effort, Some(High));
    let none = arguments(json!({"reasoning_effort": "none"}));
    assert_eq!((none.reasoning_effort, none.thinking), (None, Some(false)));
    for name in ["enable_thinking", "thinking"] {
        let thinking = |is: bool| arguments(json!({"chat_template_kwargs": {name: is}})).thinking;
        assert_eq!((thinking(true), thinking(false)), (Some(true), Some(false)));
    }
    let document = json!({"title": "t", "text": "x"});
    let both = [
        json!({"documents": [document]}),
        json!({"chat_template_kwargs": {"documents": [document]}}),
    ];
    for fields in both {
        assert_eq!(arguments(fields).documents, std::slice::from_ref(&document));
    }
}

#[test]
fn reasoning_comes_back_under_both_names() {
    for name in ["reasoning_content", "reasoning"] {
        let turn = json!({"role": "assistant", "content": "a", name: "hm"});
        let (request, _) = read(json!({"messages": [turn]})).expect("valid");
        assert_eq!(chat(request).messages[0].reasoning.as_deref(), Some("hm"));
    }
}

#[test]
fn wrong_tools_are_named() {
    let tools = json!([function("f")]);
    let with = |choice: Value| json!({"tools": tools, "tool_choice": choice});
    let allowed = |inner: Value| with(json!({"type": "allowed_tools", "allowed_tools": inner}));
    let table = [
        json!({"tools": [1]}),
        json!({"tools": [{"type": "function"}]}),
        json!({"tools": [{"type": "function", "function": {}}]}),
        json!({"tools": [{"function": {"name": "f", "parameters": "{}"}}]}),
        json!({"tools": [{"function": {"name": "f", "strict": 1}}]}),
        json!({"tools": vec![function("f"); 513]}),
        json!({"tools": tools, "functions": [{"name": "f"}]}),
        json!({"tools": tools, "function_call": {"name": "f"}}),
        json!({"functions": [{"name": "f"}], "tool_choice": "required"}),
        json!({"functions": [{"name": "f"}], "function_call": "required"}),
        json!({"functions": [{"name": "f"}], "function_call": {"name": "g"}}),
        json!({"tool_choice": "required"}),
        json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        with(json!("sometimes")),
        with(json!(1)),
        with(json!({"type": "web_search"})),
        with(json!({"type": "function", "function": {}})),
        with(json!({"type": "function", "function": {"name": "g"}})),
        allowed(json!({"tools": [{"type": "function", "function": {"name": "f"}}]})),
        allowed(json!({"mode": "any", "tools": []})),
        allowed(json!({"mode": "auto", "tools": []})),
        allowed(json!({"mode": "auto", "tools": [{"function": {"name": "g"}}]})),
    ];
    expect![[r#"
        invalid_type tools[0]: `tools[0]` must be an object, got an integer
        missing_required_parameter tools[0].function: `tools[0].function` is required
        missing_required_parameter tools[0].function.name: `tools[0].function.name` is required
        invalid_type tools[0].function.parameters: `tools[0].function.parameters` must be a JSON schema, got a string
        invalid_type tools[0].function.strict: `tools[0].function.strict` must be a boolean, got an integer
        invalid_value tools: `tools` must be at most 512 tools, got 513
        invalid_value functions: `functions` is the older name of `tools`, which is there, too; leave it out
        invalid_value function_call: `function_call` needs `functions`; send `tool_choice`
        invalid_value tool_choice: `tool_choice` needs `tools`; send `function_call`
        invalid_value function_call: `function_call` must be "auto", "none" or an object that names a function
        invalid_value function_call.name: `function_call.name` is "g", which is not among the tools
        invalid_value tool_choice: `tool_choice` requires a call, but there are no tools to call; send `tools`
        invalid_value tool_choice.function.name: `tool_choice.function.name` is "f", which is not among the tools
        invalid_value tool_choice: `tool_choice` must be "auto", "none", "required" or an object that names tools
        invalid_type tool_choice: `tool_choice` must be an object, got an integer
        invalid_value tool_choice.type: `tool_choice.type` must be "function" or "allowed_tools"
        missing_required_parameter tool_choice.function.name: `tool_choice.function.name` is required
        invalid_value tool_choice.function.name: `tool_choice.function.name` is "g", which is not among the tools
        missing_required_parameter tool_choice.allowed_tools.mode: `tool_choice.allowed_tools.mode` is required
        invalid_value tool_choice.allowed_tools.mode: `tool_choice.allowed_tools.mode` must be "auto" or "required"
        invalid_value tool_choice.allowed_tools.tools: `tool_choice.allowed_tools.tools` must name at least one tool
        invalid_value tool_choice.allowed_tools.tools[0].function.name: `tool_choice.allowed_tools.tools[0].function.name` is "g", which is not among the tools
    "#]].assert_eq(&table.into_iter().map(refused).collect::<String>());
}

#[test]
fn wrong_formats_are_named() {
    let table = [
        json!({"parallel_tool_calls": "no"}),
        json!({"response_format": {"type": "xml"}}),
        json!({"response_format": {"type": "json_schema"}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": true}}}),
        json!({"response_format": {"type": "json_object"}, "guided_regex": "a"}),
        json!({"guided_json": "{"}),
        json!({"guided_json": 1}),
        json!({"guided_regex": 1}),
        json!({"guided_choice": "a"}),
        json!({"guided_choice": ["a", 1]}),
        json!({"structured_outputs": {"json": {}, "regex": "a"}}),
        json!({"reasoning_effort": "some"}),
        json!({"chat_template_kwargs": {"enable_thinking": true, "thinking": false}}),
        json!({"documents": ["text"]}),
        json!({"documents": [{}], "chat_template_kwargs": {"documents": [{}]}}),
    ];
    expect![[r#"
        invalid_type parallel_tool_calls: `parallel_tool_calls` must be a boolean, got a string
        invalid_value response_format.type: `response_format.type` must be "text", "json_object" or "json_schema"
        missing_required_parameter response_format.json_schema: `response_format.json_schema` is required
        missing_required_parameter response_format.json_schema.schema: `response_format.json_schema.schema` is required
        invalid_type response_format.json_schema.schema: `response_format.json_schema.schema` must be a JSON schema, that is, an object, got a boolean
        invalid_value guided_regex: `guided_regex` cannot be sent together with `response_format`; send one of them
        invalid_value guided_json: `guided_json` must be a JSON schema or its text
        invalid_type guided_json: `guided_json` must be a JSON schema, that is, an object, got an integer
        invalid_type guided_regex: `guided_regex` must be a string, got an integer
        invalid_type guided_choice: `guided_choice` must be an array of strings, got a string
        invalid_type guided_choice[1]: `guided_choice[1]` must be a string, got an integer
        invalid_value structured_outputs.regex: `structured_outputs.regex` cannot be sent together with another of its kind
        invalid_value reasoning_effort: `reasoning_effort` must be "none", "minimal", "low", "medium", "high" or "xhigh"
        invalid_value chat_template_kwargs.thinking: `chat_template_kwargs.thinking` says the opposite of `enable_thinking`
        invalid_type documents[0]: `documents[0]` must be an object, got a string
        invalid_value chat_template_kwargs.documents: `chat_template_kwargs.documents` cannot be sent together with `documents`; send one of them
    "#]].assert_eq(&table.into_iter().map(refused).collect::<String>());
}
