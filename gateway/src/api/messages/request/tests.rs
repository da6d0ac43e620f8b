use engine_api::{Conversation, ReasoningEffort, ResponseFormat, ToolChoice};
use expect_test::expect;

use super::*;

fn read(fields: Value) -> Result<ChatRequest, Invalid> {
    let mut body = json!({"model": "m", "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}]});
    let map = body.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        map.insert(name.clone(), value.clone());
    }
    parse(&body)
}

fn chat(request: &ChatRequest) -> &Conversation {
    match &request.source {
        PromptSource::Chat(chat) => chat,
        other => panic!("no chat but {other:?}"),
    }
}

fn refused(fields: Value) -> String {
    let invalid = read(fields.clone()).err().unwrap_or_else(|| panic!("accepted: {fields}"));
    format!("{} {}: {}\n", invalid.code, invalid.param.unwrap_or_default(), invalid.message)
}

#[test]
fn blocks_become_turns() {
    let request = read(json!({
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "in German"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "calling"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "1"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
                    "content": [{"type": "text", "text": "broke"}]},
                {"type": "text", "text": "go on"}]},
            {"role": "assistant", "content": "done"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]}]}))
    .expect("valid");
    let turn = |message: &engine_api::Message| {
        let calls = message.tool_calls.iter();
        let calls: Vec<_> = calls
            .map(|c| format!("{}={}({})", c.id, c.function.name, c.function.arguments))
            .collect();
        let (role, content) = (message.role, &message.content);
        let (reasoning, answers) = (&message.reasoning, &message.tool_call_id);
        format!("{role:?} {content:?} {calls:?} {answers:?} {reasoning:?}\n")
    };
    let turns: String = chat(&request).messages.iter().map(turn).collect();
    expect![[r#"
        System Some("be brief\nin German") [] None None
        User Some("one\ntwo") [] None None
        Assistant Some("calling") ["t1=f({\"a\":[1]})", "t2=g({})"] None Some("hm")
        Tool Some("1") [] Some("t1") None
        Tool Some("error: broke") [] Some("t2") None
        User Some("go on") [] None None
        Assistant Some("done") [] None None
        Tool Some("") [] Some("t1") None
    "#]]
    .assert_eq(&turns);
}

#[test]
fn what_clients_send_is_read() {
    let schema = json!({"type": "object", "properties": {}});
    let request = read(json!({
        "tools": [{"name": "f", "description": "d", "input_schema": schema},
            {"type": "custom", "name": "g", "input_schema": schema, "strict": true}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "stop_sequences": ["END"], "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stream": true,
        "metadata": {"user_id": "u"}, "service_tier": "auto", "thinking": {"type": "disabled"},
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": schema}},
        "mcp_servers": [], "container": null}))
    .expect("valid");
    assert_eq!(
        chat(&request).tools,
        [
            json!({"type": "function", "function": {"name": "f", "description": "d",
            "parameters": schema}}),
            json!({"type": "function", "function": {"name": "g", "parameters": schema,
            "strict": true}}),
        ]
    );
    assert_eq!(
        (&request.demand.choice, request.demand.is_parallel),
        (&ToolChoice::Required, false)
    );
    assert_eq!(request.demand.response, ResponseFormat::JsonSchema(schema));
    assert_eq!(request.demand.arguments.thinking, Some(false));
    assert_eq!(request.demand.arguments.reasoning_effort, Some(ReasoningEffort::High));
    assert_eq!((request.stop.as_slice(), request.stream), (&["END".to_owned()][..], true));
    assert_eq!(request.max_tokens.map(MaxTokens::get), Some(9));
    let choice = |choice| read(json!({"tool_choice": choice})).expect("valid").demand.choice;
    assert_eq!(choice(json!({"type": "tool", "name": "f"})), ToolChoice::Named("f".into()));
    assert_eq!(choice(json!({"type": "none"})), ToolChoice::None);
    let counted = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(parse_count(&counted).expect("it needs no length").max_tokens, None);
}

#[test]
fn turns_that_cannot_be_read_are_named() {
    let said = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let table = [
        json!({"model": null}),
        json!({"max_tokens": null}),
        json!({"max_tokens": 0}),
        json!({"messages": null}),
        json!({"messages": []}),
        json!({"messages": [{"role": "user"}]}),
        json!({"messages": [{"role": "tool", "content": "x"}]}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        said(json!(5)),
        said(json!([{"type": "image", "source": {}}])),
        said(json!([{"type": "document", "source": {}}])),
        said(json!([{"type": "thing"}])),
        said(json!([{"type": "tool_result", "content": "x"}])),
        said(json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}])),
    ];
    expect![[r#"
        missing_required_parameter model: `model` is required
        missing_required_parameter max_tokens: `max_tokens` is required
        invalid_value max_tokens: `max_tokens` must be at least 1, got 0
        missing_required_parameter messages: `messages` is required
        invalid_value messages: `messages` must hold at least one message
        missing_required_parameter messages[0].content: `messages[0].content` is required
        invalid_value messages[0].role: `messages[0].role` must be "user" or "assistant"
        unsupported_parameter messages: `messages` must end with a message of the user: an answer is not begun for the model
        invalid_type messages[0].content: `messages[0].content` must be a string or an array of blocks, got an integer
        unsupported_parameter messages[0].content[0].type: `messages[0].content[0].type` must be "text" or "tool_result": this gateway serves models that read text only
        unsupported_parameter messages[0].content[0].type: `messages[0].content[0].type` must be "text" or "tool_result": this gateway serves models that read text only
        invalid_value messages[0].content[0].type: `messages[0].content[0].type` must be "text" or "tool_result"
        missing_required_parameter messages[0].content[0].tool_use_id: `messages[0].content[0].tool_use_id` is required
        unsupported_parameter messages[0].content[0].content[0].type: `messages[0].content[0].content[0].type` must be "text": this gateway serves models that read text only
    "#]].assert_eq(&table.map(refused).concat());
}

#[test]
fn what_cannot_be_done_is_named() {
    let table = [
        json!({"thread": {"type": "create"}}),
        json!({"container": "c"}),
        json!({"mcp_servers": [{"url": "x"}]}),
        json!({"context_management": {"edits": []}}),
        json!({"inference_geo": "eu"}),
        json!({"stop": ["x"]}),
        json!({"tools": [{"type": "web_search_20260209", "name": "web_search"}]}),
        json!({"tools": [{"name": "f"}]}),
        json!({"tools": [{"name": "f", "input_schema": "x"}]}),
        json!({"tool_choice": {"type": "sometimes"}}),
        json!({"tool_choice": {"type": "tool"}}),
        json!({"thinking": {"type": "enabled", "budget_tokens": -1}}),
        json!({"thinking": {"type": "deep"}}),
        json!({"output_config": {"effort": "huge"}}),
        json!({"output_config": {"format": {"type": "json_object"}}}),
        json!({"output_format": {"type": "json_schema"}}),
        json!({"temperature": 3}),
        json!({"stop_sequences": [""]}),
    ];
    expect![[r#"
        thread_unsupported_request thread: `thread` is not supported: nothing is stored here; send all messages
        unsupported_parameter container: `container` is not supported by this gateway; leave it out
        unsupported_parameter mcp_servers: `mcp_servers` is not supported: tools run with the client; send `tools`
        unsupported_parameter context_management: `context_management` is not supported by this gateway; leave it out
        unsupported_parameter inference_geo: `inference_geo` is not supported; send the header `x-hanse-residency`
        unsupported_parameter stop: `stop` is OpenAI's; send `stop_sequences`
        unsupported_parameter tools[0].type: `tools[0].type` "web_search_20260209" is not supported; only the client's own tools are
        missing_required_parameter tools[0].input_schema: `tools[0].input_schema` is required
        invalid_type tools[0].input_schema: `tools[0].input_schema` must be a JSON schema, got a string
        invalid_value tool_choice.type: `tool_choice.type` must be "auto", "any", "tool" or "none"
        missing_required_parameter tool_choice.name: `tool_choice.name` is required
        invalid_value thinking.budget_tokens: `thinking.budget_tokens` must be at least 0, got -1
        invalid_value thinking.type: `thinking.type` must be "enabled", "disabled" or "adaptive"
        invalid_value output_config.effort: `output_config.effort` must be "low", "medium", "high", "xhigh" or "max"
        invalid_value output_config.format.type: `output_config.format.type` must be "json_schema"
        missing_required_parameter output_format.schema: `output_format.schema` is required
        invalid_value temperature: `temperature` must be between 0 and 2, got 3
        invalid_value stop_sequences: `stop_sequences` must be strings of 1 to 1024 bytes, got a string of 0 bytes
    "#]].assert_eq(&table.map(refused).concat());
}
