//! Tells a model of calls and their results where its template does not.

use std::collections::HashMap;

use engine_api::{Conversation, Message, Role, ToolCall};

/// A conversation without calls and results, for templates that know of neither (see
/// [`super::Detected::renders_calls`]). Calls become the text that the model `wrote`, and results
/// become what the user says: several that follow each other are one turn, since many templates
/// want turns to alternate.
pub fn told_calls(chat: &Conversation, wrote: &dyn Fn(&[ToolCall]) -> String) -> Conversation {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut messages: Vec<Message> = Vec::with_capacity(chat.messages.len());
    let mut is_after_result = false;
    for message in &chat.messages {
        let calls = &message.tool_calls;
        names.extend(calls.iter().map(|call| (call.id.as_str(), call.function.name.as_str())));
        if message.role != Role::Tool {
            is_after_result = false;
            messages.push(spoken(message, wrote));
            continue;
        }
        let id = message.tool_call_id.as_deref();
        let name = id.and_then(|id| names.get(id).copied()).or(message.name.as_deref());
        let told = result(name, message.content.as_deref().unwrap_or_default());
        match messages.last_mut().filter(|_| is_after_result) {
            Some(Message { content: Some(before), .. }) => {
                before.push_str("\n\n");
                before.push_str(&told);
            }
            _ => messages.push(turn(Role::User, told)),
        }
        is_after_result = true;
    }
    Conversation { messages, tools: chat.tools.clone() }
}

/// A turn of nothing but text.
fn turn(role: Role, content: String) -> Message {
    Message {
        role,
        content: Some(content),
        reasoning: None,
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
    }
}

fn spoken(message: &Message, wrote: &dyn Fn(&[ToolCall]) -> String) -> Message {
    if message.tool_calls.is_empty() {
        return message.clone();
    }
    let calls = wrote(&message.tool_calls);
    let content = match message.content.as_deref() {
        None | Some("") => calls,
        Some(content) => format!("{content}\n{calls}"),
    };
    Message { content: Some(content), tool_calls: Vec::new(), ..message.clone() }
}

fn result(name: Option<&str>, content: &str) -> String {
    match name {
        Some(name) => format!("Result of `{name}`:\n{content}"),
        None => format!("Result:\n{content}"),
    }
}

#[cfg(test)]
mod tests {
    use engine_api::FunctionCall;

    use super::*;

    fn call(id: &str, name: &str) -> ToolCall {
        let function = FunctionCall { name: name.into(), arguments: "{}".into() };
        ToolCall { id: id.into(), function }
    }

    #[test]
    fn calls_and_results_become_text() {
        let called = |calls: Vec<ToolCall>, content: Option<&str>| Message {
            tool_calls: calls,
            content: content.map(str::to_owned),
            ..turn(Role::Assistant, String::new())
        };
        let result = |id: Option<&str>, name: Option<&str>, content: &str| Message {
            tool_call_id: id.map(str::to_owned),
            name: name.map(str::to_owned),
            ..turn(Role::Tool, content.into())
        };
        let messages = vec![
            turn(Role::User, "hi".into()),
            called(vec![call("1", "f"), call("2", "g")], None),
            result(Some("2"), None, "of g"),
            result(Some("1"), None, "of f"),
            called(vec![call("3", "f")], Some("again")),
            result(Some("unknown"), Some("h"), "of h"),
            called(vec![], Some("done")),
            result(None, None, "of nobody"),
        ];
        let chat = Conversation { messages, tools: Vec::new() };
        let wrote = |calls: &[ToolCall]| {
            let names: Vec<&str> = calls.iter().map(|call| call.function.name.as_str()).collect();
            format!("<{}>", names.join(" "))
        };
        let told = told_calls(&chat, &wrote);
        let shown: Vec<String> = told
            .messages
            .iter()
            .map(|message| format!("{:?} {}", message.role, message.content.as_ref().expect("has")))
            .collect();
        let expected = [
            "User hi",
            "Assistant <f g>",
            "User Result of `g`:\nof g\n\nResult of `f`:\nof f",
            "Assistant again\n<f>",
            "User Result of `h`:\nof h",
            "Assistant done",
            "User Result:\nof nobody",
        ];
        assert_eq!(shown, expected);
        assert!(told.messages.iter().all(|message| message.tool_calls.is_empty()));
    }
}
