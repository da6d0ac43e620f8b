use expect_test::expect;
use serde_json::json;

use super::*;

fn read(fields: Value) -> Result<Completing, Invalid> {
    let mut body = json!({"model": "m", "prompt": "hi"});
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

#[test]
fn a_prompt_is_a_text_or_ids_or_many_of_them() {
    let table =
        [json!("a"), json!(["a", "b"]), json!([1, 2]), json!([[1, 2], [3]]), json!(["a", [3]])];
    let sources = table.map(|prompt| {
        let wanted = read(json!({"prompt": prompt})).expect("valid");
        assert_eq!(wanted.request.source, wanted.sources[0]);
        format!("{:?}\n", wanted.sources)
    });
    expect![[r#"
        [Text("a")]
        [Text("a"), Text("b")]
        [Tokens([TokenId(1), TokenId(2)])]
        [Tokens([TokenId(1), TokenId(2)]), Tokens([TokenId(3)])]
        [Text("a"), Tokens([TokenId(3)])]
    "#]]
    .assert_eq(&sources.concat());
}

#[test]
fn what_clients_send_is_read() {
    let fields = json!({"n": 3, "best_of": 3, "logprobs": 5, "stop": ["\n"], "user": "u",
        "seed": 7, "suffix": null, "stream": true, "stream_options": {"include_usage": true},
        "top_k": 4, "min_tokens": 2, "echo": false, "add_special_tokens": true,
        "response_format": {"type": "text"}, "temperature": 0.5});
    let wanted = read(fields).expect("valid");
    assert_eq!(wanted.request.max_tokens.map(MaxTokens::get), Some(16), "OpenAI's default");
    assert_eq!(wanted.request.choices.get(), 3);
    assert_eq!(wanted.request.logprobs.map(TopLogprobs::get), Some(5));
    assert_eq!(wanted.request.stop.as_slice(), ["\n"]);
    assert!(wanted.rendering.include_usage && wanted.request.stream && !wanted.echo);
    let wanted = read(json!({"echo": true, "logprobs": false, "max_tokens": 9})).expect("valid");
    assert_eq!(wanted.request.max_tokens.map(MaxTokens::get), Some(9));
    assert!(wanted.echo && wanted.request.logprobs.is_none());
}

#[test]
fn what_cannot_be_done_is_named() {
    let table = [
        json!({"model": null}),
        json!({"prompt": null}),
        json!({"prompt": []}),
        json!({"prompt": 5}),
        json!({"prompt": [1, "a"]}),
        json!({"prompt": ["a", 1]}),
        json!({"prompt": [[1, -1]]}),
        json!({"prompt": vec!["a"; 65]}),
        json!({"prompt": vec!["a"; 20], "n": 13}),
        json!({"suffix": "end"}),
        json!({"echo": true, "logprobs": 0}),
        json!({"logprobs": 21}),
        json!({"logprobs": true}),
        json!({"best_of": 2}),
        json!({"max_tokens": 0}),
        json!({"add_special_tokens": false}),
        json!({"response_format": {"type": "json_object"}}),
        json!({"prompt_logprobs": 1}),
        json!({"use_beam_search": true}),
        json!({"Prompt": "a"}),
    ];
    expect![[r#"
        missing_required_parameter model: `model` is required
        missing_required_parameter prompt: `prompt` is required
        invalid_value prompt: `prompt` must hold at least one prompt
        invalid_type prompt: `prompt` must be a string, an array of strings, token ids or an array of token ids, got an integer
        invalid_type prompt[1]: `prompt[1]` must be a token id, got a string
        invalid_type prompt[1]: `prompt[1]` must be a string or an array of token ids, got an integer
        invalid_type prompt[0][1]: `prompt[0][1]` must be a token id, got an integer
        invalid_value prompt: `prompt` has 65 prompts, at most 64 are taken
        invalid_value prompt: `prompt` times `n` makes 260 answers, at most 256 are given at once
        unsupported_parameter suffix: `suffix` is not supported: these models write on after a text, not into it
        unsupported_parameter logprobs: `logprobs` with `echo` needs the log-probabilities of the prompt, which are not computed here; leave out one of the two
        invalid_value logprobs: `logprobs` must be between 0 and 20, got 21
        invalid_type logprobs: `logprobs` must be an integer, got a boolean
        unsupported_parameter best_of: `best_of` is only supported as `n`, which is 1
        invalid_value max_tokens: `max_tokens` must be at least 1, got 0
        unsupported_parameter add_special_tokens: `add_special_tokens` is only supported as true; send token ids to decide on each token
        unsupported_parameter response_format: `response_format` other than "text" is supported by `/v1/chat/completions` only
        unsupported_parameter prompt_logprobs: `prompt_logprobs` is not supported by this gateway; leave it out
        unsupported_parameter use_beam_search: `use_beam_search` is only supported as false
        invalid_value Prompt: `Prompt` must be written `prompt`
    "#]].assert_eq(&table.map(refused).concat());
}
