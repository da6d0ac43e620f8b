use expect_test::expect;
use serde_json::json;

use super::*;

fn tokenize(body: Value) -> String {
    match read_tokenize(&body) {
        Ok(Tokenizing { request, bare, strings }) => {
            let source = match request.source {
                PromptSource::Text(text) => format!("text {text:?}"),
                PromptSource::Chat(chat) => format!("{} messages", chat.messages.len()),
                PromptSource::Tokens(ids) => format!("{ids:?}"),
            };
            format!("{source} bare={bare:?} strings={strings}\n")
        }
        Err(invalid) => format!("{}: {invalid}\n", invalid.code),
    }
}

#[test]
fn a_text_or_a_chat_is_tokenized() {
    let turns = json!([{"role": "user", "content": "hi"}]);
    let table = [
        json!({"model": "m", "prompt": "hi"}),
        json!({"model": "m", "prompt": "hi", "add_special_tokens": true}),
        json!({"model": "m", "prompt": "hi", "add_special_tokens": false}),
        json!({"model": "m", "prompt": "", "return_token_strs": true}),
        json!({"model": "m", "messages": turns, "return_token_strs": true}),
        json!({"model": "m", "messages": turns, "add_generation_prompt": true}),
        json!({"model": "m", "messages": turns, "add_generation_prompt": false}),
        json!({"model": "m", "messages": turns, "prompt": "hi"}),
        json!({"model": "m", "prompt": ["hi"]}),
        json!({"model": "m"}),
        json!({"prompt": "hi"}),
    ];
    expect![[r#"
        text "hi" bare=None strings=false
        text "hi" bare=None strings=false
        text "hi" bare=Some("hi") strings=false
        text "" bare=Some("") strings=true
        1 messages bare=None strings=true
        1 messages bare=None strings=false
        unsupported_parameter: `add_generation_prompt` is only supported as true
        invalid_value: `prompt` and `messages` exclude each other
        invalid_type: `prompt` must be a string, got an array
        missing_required_parameter: `prompt` or `messages` is required
        missing_required_parameter: `model` is required
    "#]]
    .assert_eq(&table.map(tokenize).concat());
}

#[test]
fn ids_are_read_as_ids() {
    let read = |tokens: Value| match read_detokenize(&json!({"model": "m", "tokens": tokens})) {
        Ok(request) => format!("{:?}\n", request.source),
        Err(invalid) => format!("{}: {invalid}\n", invalid.code),
    };
    let table = [json!([1, 2]), json!([]), json!(null), json!("1"), json!([1, -2]), json!([1.5])];
    expect![[r#"
        Tokens([TokenId(1), TokenId(2)])
        Tokens([])
        missing_required_parameter: `tokens` is required
        invalid_type: `tokens` must be an array, got a string
        invalid_type: `tokens[1]` must be a token id, got an integer
        invalid_type: `tokens[0]` must be a token id, got a number with a fraction
    "#]]
    .assert_eq(&table.map(read).concat());
}
