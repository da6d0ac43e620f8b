use engine_api::{Conversation, ReasoningEffort, ResponseFormat, ToolChoice};
use expect_test::expect;

use super::*;

fn read(fields: Value) -> Result<Responding, Invalid> {
    let mut body = json!({"model": "m", "input": "hi"});
    let map = body.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        map.insert(name.clone(), value.clone());
    }
    parse(&body)
}

fn chat(fields: Value) -> Conversation {
    match read(fields).expect("valid").request.source {
        PromptSource::Chat(chat) => chat,
        other => panic!("no chat but {other:?}"),
    }
}

fn refused(fields: Value) -> String {
    let invalid = read(fields.clone()).err().unwrap_or_else(|| panic!("accepted: {fields}"));
    format!("{} {}: {}\n", invalid.code, invalid.param.unwrap_or_default(), invalid.message)
}

#[test]
fn items_become_turns() {
    let chat = chat(json!({"instructions": "be brief", "input": [
        {"role": "developer", "content": "in German"},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [
            {"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "calling", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
        {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "g", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "2"}], "status": "completed"},
        {"type": "function_call", "call_id": "c3", "name": "h"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": null}]}));
    let turn = |message: &engine_api::Message| {
        let calls = message.tool_calls.iter();
        let calls: Vec<_> = calls
            .map(|c| format!("{}={}({})", c.id, c.function.name, c.function.arguments))
            .collect();
        let (role, content) = (message.role, &message.content);
        let (reasoning, answers) = (&message.reasoning, &message.tool_call_id);
        format!("{role:?} {content:?} {calls:?} {answers:?} {reasoning:?}\n")
    };
    let turns: String = chat.messages.iter().map(turn).collect();
    expect![[r#"
        System Some("be brief") [] None None
        Developer Some("in German") [] None None
        User Some("one\ntwo") [] None None
        Assistant Some("calling") ["c1=f({\"a\":1})", "c2=g()"] None Some("hm")
        Tool Some("1") [] Some("c1") None
        Tool Some("2") [] Some("c2") None
        Assistant None ["c3=h({})"] None None
        Assistant Some("no") [] None None
        User None [] None None
    "#]]
    .assert_eq(&turns);
}

#[test]
fn everything_that_clients_send_is_accepted() {
    let table = [
        json!({"include": [], "text": {}, "tools": [], "tool_choice": null, "store": true}),
        json!({"include": ["reasoning.encrypted_content"], "truncation": "disabled"}),
        json!({"metadata": {"a": "b"}, "user": "u", "safety_identifier": "s", "stream": true}),
        json!({"prompt_cache_key": "k", "prompt_cache_options": {}, "service_tier": "auto"}),
        json!({"stream_options": {"include_obfuscation": false}, "max_tool_calls": 3}),
        json!({"background": false, "previous_response_id": null, "conversation": null}),
        json!({"context_management": [], "prompt_cache_retention": "24h", "moderation": null}),
        json!({"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 5, "seed": 3, "top_k": 2}),
        json!({"something_of_another_server": [1]}),
    ];
    for fields in table {
        if let Err(invalid) = read(fields.clone()) {
            panic!("{fields}: {invalid}");
        }
    }
}

#[test]
fn tools_are_those_of_chat_and_a_choice_is_one_of_all() {
    let schema = json!({"type": "object", "properties": {}});
    let tools = json!([{"type": "function", "name": "f", "description": "d", "parameters": schema,
        "strict": true}, {"type": "function", "name": "g", "parameters": null}]);
    let wanted = read(json!({"tools": tools, "parallel_tool_calls": false})).expect("valid");
    let PromptSource::Chat(chat) = &wanted.request.source else { panic!("no chat") };
    assert_eq!(
        chat.tools[0],
        json!({"type": "function", "function": {"name": "f",
        "description": "d", "parameters": schema, "strict": true}})
    );
    assert_eq!(chat.tools[1], json!({"type": "function", "function": {"name": "g"}}));
    assert!(!wanted.request.demand.is_parallel && !wanted.echo.parallel_tool_calls);
    assert_eq!(wanted.echo.tools[1]["strict"], Value::Null);
    let choice =
        |value: Value| read(json!({"tool_choice": value})).expect("valid").request.demand.choice;
    assert_eq!(choice(json!("required")), ToolChoice::Required);
    assert_eq!(choice(json!("none")), ToolChoice::None);
    assert_eq!(choice(json!({"type": "function", "name": "f"})), ToolChoice::Named("f".into()));
    let allowed = json!({"type": "allowed_tools", "mode": "required",
        "tools": [{"type": "function", "name": "g"}]});
    let names = vec!["g".to_owned()];
    assert_eq!(choice(allowed), ToolChoice::Allowed { is_required: true, names });
}

#[test]
fn formats_efforts_and_probabilities_are_read() {
    let demand = |fields| read(fields).expect("valid").request.demand;
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "name": "n", "schema": schema, "strict": false});
    let demanded = demand(json!({"text": {"format": format, "verbosity": "low"}}));
    assert_eq!(demanded.response, ResponseFormat::JsonSchema(schema));
    let demanded = demand(json!({"text": {"format": {"type": "json_object"}}}));
    assert_eq!(demanded.response, ResponseFormat::JsonObject);
    let arguments = |effort| demand(json!({"reasoning": {"effort": effort}})).arguments;
    assert_eq!(arguments("none").thinking, Some(false));
    assert_eq!(arguments("xhigh").reasoning_effort, Some(ReasoningEffort::High));
    let logprobs = |fields| read(fields).expect("valid").request.logprobs.map(TopLogprobs::get);
    let include = json!(["message.output_text.logprobs"]);
    assert_eq!(logprobs(json!({"include": include})), Some(0));
    assert_eq!(logprobs(json!({"include": include, "top_logprobs": 4})), Some(4));
    assert_eq!(logprobs(json!({"top_logprobs": 0})), None);
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let table = [
        json!({"model": null}),
        json!({"input": null}),
        json!({"input": []}),
        json!({"input": 5}),
        json!({"input": [{"type": "reasoning"}]}),
        json!({"input": [{"role": "tool", "content": "x"}]}),
        json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
        json!({"input": [{"role": "user", "content": [{"type": "thing"}]}]}),
        json!({"input": [{"type": "item_reference", "id": "x"}]}),
        json!({"input": [{"type": "web_search_call"}]}),
        json!({"input": [{"type": "function_call", "name": "f"}]}),
    ];
    expect![[r#"
        missing_required_parameter model: `model` is required
        missing_required_parameter input: `input` is required
        invalid_value input: `input` must hold at least one item
        invalid_type input: `input` must be a string or an array of items, got an integer
        invalid_value input: `input` must hold at least one message
        invalid_value input[0].role: `input[0].role` must be "user", "assistant", "system" or "developer"
        unsupported_parameter input[0].content[0].type: `input[0].content[0].type` must be text: this gateway serves models that read text only
        invalid_value input[0].content[0].type: `input[0].content[0].type` must be "input_text", "output_text" or "refusal"
        unsupported_parameter input[0].type: `input[0].type` refers to a stored item, but nothing is stored here; send the item
        unsupported_parameter input[0].type: `input[0].type` "web_search_call" is not supported; messages, functions' calls and their outputs are
        missing_required_parameter input[0].call_id: `input[0].call_id` is required
    "#]].assert_eq(&table.map(refused).concat());
}

#[test]
fn every_other_parameter_is_refused_by_its_name() {
    let table = [
        json!({"previous_response_id": "resp_1"}),
        json!({"conversation": "conv_1"}),
        json!({"background": true}),
        json!({"background_options": {"a": 1}}),
        json!({"prompt": {"id": "p"}}),
        json!({"context_management": [{"type": "compaction"}]}),
        json!({"moderation": {"a": 1}}),
        json!({"access_programs": ["a"]}),
        json!({"image": {"a": 1}}),
        json!({"messages": [{"role": "user"}]}),
        json!({"max_tokens": 5}),
        json!({"truncation": "auto"}),
        json!({"include": ["file_search_call.results"]}),
        json!({"n": 2}),
        json!({"metadata": {"a": 1}}),
        json!({"tools": [{"type": "web_search"}]}),
        json!({"tools": [{"type": "mcp", "server_label": "x"}]}),
        json!({"tools": [{"type": "function"}]}),
        json!({"tools": [{"type": "function", "name": "f", "parameters": "x"}]}),
        json!({"tool_choice": "sometimes"}),
        json!({"tool_choice": {"type": "file_search"}}),
        json!({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}),
        json!({"text": {"format": {"type": "xml"}}}),
        json!({"text": {"format": {"type": "json_schema", "name": "n"}}}),
        json!({"reasoning": {"effort": "huge"}}),
        json!({"top_logprobs": 21}),
        json!({"max_output_tokens": 0}),
        json!({"chat_template": "x"}),
    ];
    expect![[r#"
        unsupported_parameter previous_response_id: `previous_response_id` is not supported: nothing is stored here; send the whole conversation in `input`
        unsupported_parameter conversation: `conversation` is not supported: nothing is stored here; send the whole conversation in `input`
        unsupported_parameter background: `background` is only supported as false: an answer ends with its connection
        unsupported_parameter background_options: `background_options` is not supported by this gateway; leave it out
        unsupported_parameter prompt: `prompt` is not supported: no templates are stored here; send `input`
        unsupported_parameter context_management: `context_management` is not supported by this gateway; leave it out
        unsupported_parameter moderation: `moderation` is not supported by this gateway; leave it out
        unsupported_parameter access_programs: `access_programs` is not supported by this gateway; leave it out
        unsupported_parameter image: `image` is not supported by this gateway; leave it out
        unsupported_parameter messages: `messages` is chat's; send `input`
        unsupported_parameter max_tokens: `max_tokens` is chat's; send `max_output_tokens`
        unsupported_parameter truncation: `truncation` is only supported as "disabled": nothing is left out of a prompt
        unsupported_parameter include[0]: `include[0]` is not supported; leave it out
        unsupported_parameter n: `n` is only supported as 1
        invalid_type metadata.a: `metadata.a` must be a string, got an integer
        unsupported_parameter tools[0].type: `tools[0].type` "web_search" is not supported; only tools of type "function" are
        unsupported_parameter tools[0].type: `tools[0].type` "mcp" is not supported; only tools of type "function" are
        missing_required_parameter tools[0].name: `tools[0].name` is required
        invalid_type tools[0].parameters: `tools[0].parameters` must be a JSON schema, got a string
        invalid_value tool_choice: `tool_choice` must be "auto", "none", "required" or an object
        unsupported_parameter tool_choice.type: `tool_choice.type` "file_search" is not supported; only tools of type "function" are
        invalid_value tool_choice.tools: `tool_choice.tools` must name at least one tool
        invalid_value text.format.type: `text.format.type` must be "text", "json_object" or "json_schema"
        missing_required_parameter text.format.schema: `text.format.schema` is required
        invalid_value reasoning.effort: `reasoning.effort` must be "none", "minimal", "low", "medium", "high" or "xhigh"
        invalid_value top_logprobs: `top_logprobs` must be between 0 and 20, got 21
        invalid_value max_output_tokens: `max_output_tokens` must be at least 1, got 0
        unsupported_parameter chat_template: `chat_template` is not supported by this gateway; leave it out
    "#]].assert_eq(&table.map(refused).concat());
}
