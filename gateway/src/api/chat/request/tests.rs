use engine_api::{Conversation, Priority, Seed, TokenId};
use expect_test::expect;
use serde_json::json;

use super::*;

mod demands;

fn chat(request: ChatRequest) -> Conversation {
    match request.source {
        PromptSource::Chat(chat) => chat,
        other => panic!("no chat but {other:?}"),
    }
}

fn read(fields: Value) -> Result<(ChatRequest, Rendering), Invalid> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let map = body.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        map.insert(name.clone(), value.clone());
    }
    parse(&body)
}

fn refused(fields: Value) -> String {
    let invalid = read(fields.clone()).err().unwrap_or_else(|| panic!("accepted: {fields}"));
    format!("{} {}: {}\n", invalid.code, invalid.param.unwrap_or_default(), invalid.message)
}

fn contents(message: Value) -> Vec<Option<String>> {
    let (request, _) = read(json!({"messages": [message]})).expect("valid");
    chat(request).messages.into_iter().map(|message| message.content).collect()
}

#[test]
fn everything_that_clients_send_is_accepted() {
    let table = [
        json!({"temperature": 0, "top_p": 1, "seed": -1, "n": 1, "stop": null, "user": "u"}),
        json!({"temperature": null, "max_tokens": null, "stream": null, "tools": null}),
        json!({"max_tokens": 5, "max_completion_tokens": 7}),
        json!({"max_tokens": 5.0, "stop": "a", "logit_bias": {"5": -100, "6": 1.5}}),
        json!({"stop": ["Observation:", "Calling tools:", "</code>"], "ignore_eos": true}),
        json!({"logprobs": true, "top_logprobs": 20, "min_tokens": 3}),
        json!({"stream": true, "stream_options": {
            "include_usage": true, "continuous_usage_stats": true, "include_obfuscation": false}}),
        json!({"metadata": {"a": "b"}, "store": false, "service_tier": "auto", "verbosity": "low"}),
        json!({"prompt_cache_key": "k", "safety_identifier": "s", "reasoning_effort": "low"}),
        json!({"tools": [], "parallel_tool_calls": true, "response_format": {"type": "text"}}),
        json!({"tools": [function("f")], "tool_choice": "none", "modalities": ["text"]}),
        json!({"tool_choice": "auto", "parallel_tool_calls": false}),
        json!({"function_call": "none"}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": null,
            "description": "d", "schema": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}}}),
        json!({"response_format": {"type": "text"}, "guided_regex": "a+"}),
        json!({"structured_outputs": {"json": {}, "regex": null, "disable_any_whitespace": false}}),
        json!({"structured_outputs": {}, "guided_json": null}),
        json!({"chat_template_kwargs": {"enable_thinking": false, "thinking": false, "other": null}}),
        json!({"something_of_another_server": {"deep": [1]}, "typical_p": 0.5}),
        json!({"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "stop_token_ids": [2, 7]}),
        json!({"top_k": -1, "min_p": 0, "priority": -5, "stop_token_ids": []}),
        json!({"top_k": 0, "stop_token_ids": null, "priority": null, "repetition_penalty": null}),
        json!({"skip_special_tokens": true, "spaces_between_special_tokens": false, "best_of": 1,
            "include_stop_str_in_output": false, "add_generation_prompt": true, "echo": false,
            "bad_words": [], "chat_template_kwargs": {}, "length_penalty": 1.0}),
    ];
    for fields in table {
        if let Err(invalid) = read(fields.clone()) {
            panic!("{fields}: {invalid}");
        }
    }
}

#[test]
fn the_newer_name_of_the_length_wins_and_numbers_are_read_as_they_are() {
    let fields = json!({"max_tokens": 5, "max_completion_tokens": 7, "seed": 9007199254740993_u64,
        "n": 3, "logit_bias": {"17": 2}, "stream": true, "stream_options": {"include_usage": true}});
    let (request, rendering) = read(fields).expect("valid");
    assert_eq!(request.max_tokens.map(MaxTokens::get), Some(7));
    assert_eq!(request.seed, Some(Seed(9007199254740993)));
    assert_eq!(request.choices.get(), 3);
    assert_eq!(request.logit_bias.iter().collect::<Vec<_>>(), [(TokenId(17), 2.0)]);
    assert!(rendering.stream && rendering.include_usage && !rendering.continuous_usage);
}

#[test]
fn the_names_of_other_servers_are_read() {
    let fields = json!({"top_k": 40.0, "min_p": 0.25, "repetition_penalty": 1.5, "priority": -3,
        "stop_token_ids": [7, 2, 7], "min_tokens": 4, "ignore_eos": true});
    let (request, _) = read(fields).expect("valid");
    let sampling = request.sampling(|| Seed(0));
    assert_eq!(sampling.top_k.get().map(|count| count.get()), Some(40));
    assert_eq!((sampling.min_p.get(), sampling.repetition_penalty.get()), (0.25, 1.5));
    let stopping = request.stopping(9);
    assert_eq!(stopping.stop_tokens.iter().collect::<Vec<_>>(), [TokenId(2), TokenId(7)]);
    assert_eq!((stopping.min_tokens, stopping.ignore_eos), (4, true));
    assert_eq!(request.priority, Priority(-3));
    let (request, _) = read(json!({"top_k": -1})).expect("valid");
    assert_eq!(request.sampling(|| Seed(0)), engine_api::Sampling::default());
}

#[test]
fn content_has_many_spellings() {
    for role in ["user", "system", "developer", "assistant", "tool"] {
        assert_eq!(contents(json!({"role": role})), [None]);
        assert_eq!(contents(json!({"role": role, "content": null})), [None]);
        assert_eq!(contents(json!({"role": role, "content": ""})), [Some(String::new())]);
        let parts = json!({"role": role, "name": "x", "content": [
            {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]});
        assert_eq!(contents(parts), [Some("one\ntwo".to_owned())]);
    }
}

#[test]
fn an_assistant_turn_may_come_back_as_it_was_sent() {
    let turn = json!({"role": "assistant", "annotations": [], "refusal": null, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]});
    let (request, _) = read(json!({"messages": [turn]})).expect("valid");
    let call = &chat(request).messages[0].tool_calls[0];
    assert_eq!((call.id.as_str(), call.function.name.as_str()), ("c1", "f"));
    assert_eq!(call.function.arguments, "{\"a\":1}");
}

#[test]
fn wrong_models_and_messages_are_named() {
    let table = [
        json!({"model": 5}),
        json!({"model": null}),
        json!({"model": ""}),
        json!({"Model": "m"}),
        json!({"messages": []}),
        json!({"messages": "hi"}),
        json!({"messages": null}),
        json!({"messages": [1]}),
        json!({"messages": [{}]}),
        json!({"messages": [{"role": "owner", "content": "x"}]}),
        json!({"messages": [{"role": "user", "Content": "x"}]}),
        json!({"messages": [{"role": "user", "content": 5}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}),
    ];
    expect![[r#"
        invalid_type model: `model` must be a string, got an integer
        missing_required_parameter model: `model` is required
        invalid_value model: `model` must have 1 to 256 bytes
        invalid_value Model: `Model` must be written `model`
        invalid_value messages: `messages` must hold at least one message
        invalid_type messages: `messages` must be an array, got a string
        missing_required_parameter messages: `messages` is required
        invalid_type messages[0]: `messages[0]` must be an object, got an integer
        missing_required_parameter messages[0].role: `messages[0].role` is required
        invalid_value messages[0].role: `messages[0].role` must be "system", "developer", "user", "assistant" or "tool"
        invalid_value messages[0].Content: `messages[0].Content` must be written `content`
        invalid_type messages[0].content: `messages[0].content` must be a string or an array of text parts, got an integer
        unsupported_parameter messages[0].content[0].type: `messages[0].content[0].type` must be "text": this gateway serves models that read text only
        missing_required_parameter messages[0].content[0].text: `messages[0].content[0].text` is required
        missing_required_parameter messages[0].tool_calls[0].function: `messages[0].tool_calls[0].function` is required
    "#]].assert_eq(&table.into_iter().map(refused).collect::<String>());
}

#[test]
fn wrong_parameters_are_named() {
    let table = [
        json!({"temperature": "hot"}),
        json!({"temperature": 2.5}),
        json!({"top_p": -0.1}),
        json!({"n": 0}),
        json!({"n": 17}),
        json!({"n": -1}),
        json!({"n": 1.5}),
        json!({"max_tokens": 0}),
        json!({"max_tokens": -1}),
        json!({"max_tokens": 1e12}),
        json!({"max_tokens": true}),
        json!({"seed": 1.5}),
        json!({"stop": ""}),
        json!({"stop": ["a", 1]}),
        json!({"stop": vec!["a"; 17]}),
        json!({"logit_bias": {"x": 1}}),
        json!({"logit_bias": {"+1": 1}}),
        json!({"logit_bias": {"1": 101}}),
        json!({"logit_bias": {"1": "a"}}),
        json!({"logit_bias": [1]}),
        json!({"top_logprobs": 2}),
        json!({"logprobs": true, "top_logprobs": 21}),
        json!({"logprobs": 1}),
        json!({"min_tokens": 9, "max_tokens": 8}),
        json!({"frequency_penalty": 3}),
        json!({"presence_penalty": -3}),
        json!({"min_tokens": -1}),
        json!({"stream": "yes"}),
        json!({"stream_options": true}),
    ];
    expect![[r#"
        invalid_type temperature: `temperature` must be a number, got a string
        invalid_value temperature: `temperature` must be between 0 and 2, got 2.5
        invalid_value top_p: `top_p` must be between 0 and 1, got -0.1
        invalid_value n: `n` must be between 1 and 16, got 0
        invalid_value n: `n` must be between 1 and 16, got 17
        invalid_value n: `n` must be between 1 and 16, got -1
        invalid_type n: `n` must be an integer, got a number with a fraction
        invalid_value max_tokens: `max_tokens` must be at least 1, got 0
        invalid_value max_tokens: `max_tokens` must be at least 1, got -1
        invalid_value max_tokens: `max_tokens` must be at most 4294967295, got 1000000000000.0
        invalid_type max_tokens: `max_tokens` must be an integer, got a boolean
        invalid_type seed: `seed` must be an integer of 64 bits, got a number with a fraction
        invalid_value stop: `stop` must be strings of 1 to 1024 bytes, got a string of 0 bytes
        invalid_type stop[1]: `stop[1]` must be a string, got an integer
        invalid_value stop: `stop` must be at most 16 strings, got 17 strings
        invalid_value logit_bias: `logit_bias` has the key "x", no token id
        invalid_value logit_bias: `logit_bias` has the key "+1", no token id
        invalid_value logit_bias: `logit_bias` must be between -100 and 100, got 101
        invalid_type logit_bias.1: `logit_bias.1` must be a number, got a string
        invalid_type logit_bias: `logit_bias` must be an object of token ids and numbers, got an array
        invalid_value top_logprobs: `top_logprobs` needs `logprobs` to be true
        invalid_value top_logprobs: `top_logprobs` must be between 0 and 20, got 21
        invalid_type logprobs: `logprobs` must be a boolean, got an integer
        invalid_value min_tokens: `min_tokens` must be at most the 8 tokens that may be drawn
        invalid_value frequency_penalty: `frequency_penalty` must be between -2 and 2, got 3
        invalid_value presence_penalty: `presence_penalty` must be between -2 and 2, got -3
        invalid_value min_tokens: `min_tokens` must be at least 0, got -1
        invalid_type stream: `stream` must be a boolean, got a string
        invalid_type stream_options: `stream_options` must be an object, got a boolean
    "#]].assert_eq(&table.into_iter().map(refused).collect::<String>());
}

#[test]
fn wrong_parameters_of_other_servers_are_named() {
    let table = [
        json!({"top_k": -2}),
        json!({"top_k": 1.5}),
        json!({"top_k": 5e9}),
        json!({"min_p": 1.1}),
        json!({"repetition_penalty": 0}),
        json!({"priority": 3e9}),
        json!({"priority": "high"}),
        json!({"stop_token_ids": 5}),
        json!({"stop_token_ids": [1, "a"]}),
        json!({"stop_token_ids": [-1]}),
        json!({"stop_token_ids": (0..129).collect::<Vec<_>>()}),
    ];
    expect![[r#"
        invalid_value top_k: `top_k` must be between 1 and 4294967295, or -1, got -2
        invalid_type top_k: `top_k` must be an integer, got a number with a fraction
        invalid_value top_k: `top_k` must be between 1 and 4294967295, or -1, got 5000000000.0
        invalid_value min_p: `min_p` must be between 0 and 1, got 1.1
        invalid_value repetition_penalty: `repetition_penalty` must be between 0.01 and 100, got 0
        invalid_value priority: `priority` must be at most 2147483647, got 3000000000.0
        invalid_type priority: `priority` must be an integer, got a string
        invalid_type stop_token_ids: `stop_token_ids` must be an array, got an integer
        invalid_type stop_token_ids[1]: `stop_token_ids[1]` must be a token id, got a string
        invalid_type stop_token_ids[0]: `stop_token_ids[0]` must be a token id, got an integer
        invalid_value stop_token_ids: `stop_token_ids` must be at most 128 ids, got 129 ids
    "#]]
    .assert_eq(&table.into_iter().map(refused).collect::<String>());
}

#[test]
fn what_is_not_done_is_said() {
    let table = [
        json!({"tools": [{"type": "custom", "custom": {"name": "f"}}]}),
        json!({"tools": [{"type": "web_search"}]}),
        json!({"tools": [function("f")], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}),
        json!({"structured_outputs": {"structural_tag": "x"}}),
        json!({"chat_template_kwargs": {"add_generation_prompt": false}}),
        json!({"audio": {"voice": "x"}}),
        json!({"modalities": ["text", "audio"]}),
        json!({"web_search_options": {}}),
        json!({"moderation": {"mode": "block"}}),
        json!({"skip_special_tokens": false}),
        json!({"spaces_between_special_tokens": 1}),
        json!({"include_stop_str_in_output": true}),
        json!({"add_generation_prompt": false}),
        json!({"continue_final_message": true}),
        json!({"best_of": 4}),
        json!({"use_beam_search": true}),
        json!({"bad_words": ["x"]}),
        json!({"cache_salt": "s"}),
    ];
    expect![[r#"
        unsupported_parameter tools[0].type: `tools[0].type` must be "function": custom tools are not supported; describe it as a function with a string
        unsupported_parameter tools[0].type: `tools[0].type` must be "function": this gateway runs no tools itself
        unsupported_parameter tool_choice.type: `tool_choice.type` must be "function" or "allowed_tools": custom tools are not supported
        unsupported_parameter structured_outputs.structural_tag: `structured_outputs.structural_tag` is not supported by this gateway; leave it out
        unsupported_parameter chat_template_kwargs.add_generation_prompt: `chat_template_kwargs.add_generation_prompt` is not supported by this gateway; leave it out
        unsupported_parameter audio: `audio` is not supported by this gateway
        unsupported_parameter modalities: `modalities` may only hold "text"
        unsupported_parameter web_search_options: `web_search_options` is not supported by this gateway
        unsupported_parameter moderation: `moderation` is not supported by this gateway
        unsupported_parameter skip_special_tokens: `skip_special_tokens` is only supported as true
        unsupported_parameter spaces_between_special_tokens: `spaces_between_special_tokens` is only supported as true or false
        unsupported_parameter include_stop_str_in_output: `include_stop_str_in_output` is only supported as false
        unsupported_parameter add_generation_prompt: `add_generation_prompt` is only supported as true
        unsupported_parameter continue_final_message: `continue_final_message` is only supported as false
        unsupported_parameter best_of: `best_of` is only supported as 1
        unsupported_parameter use_beam_search: `use_beam_search` is only supported as false
        unsupported_parameter bad_words: `bad_words` is not supported by this gateway; leave it out
        unsupported_parameter cache_salt: `cache_salt` is not supported by this gateway; leave it out
    "#]].assert_eq(&table.into_iter().map(refused).collect::<String>());
}

fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
}
