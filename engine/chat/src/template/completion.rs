//! What a template may not be able to do without.

use engine_api::Conversation;
use serde_json::{Value, json};

/// A way to complete a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The arguments of calls as the texts that the client sent, not as objects.
    arguments: bool,
    /// An empty text instead of no content.
    content: bool,
    /// An empty description and parameters that are none for tools without them. Last, for
    /// tools are in the prompts of the turns before, too, and a changed prompt is a new one.
    tools: bool,
}

impl Completion {
    /// All ways, in the order in which they are tried.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |which: u8| Self {
            arguments: which & 1 != 0,
            content: which & 2 != 0,
            tools: which & 4 != 0,
        };
        (1..8).map(of)
    }

    /// The variables completed. `None`: a part of this completion changes nothing.
    pub fn of(self, input: &Value, conversation: &Conversation) -> Option<Value> {
        let mut input = input.clone();
        let changes = [
            (self.arguments, complete_arguments as fn(&mut Value, &Conversation) -> bool),
            (self.content, complete_content),
            (self.tools, complete_tools),
        ];
        let mut chosen = changes.into_iter().filter(|(is_chosen, _)| *is_chosen);
        chosen.all(|(_, change)| change(&mut input, conversation)).then_some(input)
    }
}

fn complete_arguments(input: &mut Value, conversation: &Conversation) -> bool {
    let mut has_changed = false;
    for (index, message) in conversation.messages.iter().enumerate() {
        for (number, call) in message.tool_calls.iter().enumerate() {
            let pointer = format!("/messages/{index}/tool_calls/{number}/function/arguments");
            let Some(arguments) = input.pointer_mut(&pointer) else { continue };
            if !arguments.is_string() {
                *arguments = call.function.arguments.as_str().into();
                has_changed = true;
            }
        }
    }
    has_changed
}

fn complete_content(input: &mut Value, _: &Conversation) -> bool {
    let mut has_changed = false;
    for message in input["messages"].as_array_mut().into_iter().flatten() {
        if message["content"].is_null() {
            message["content"] = "".into();
            has_changed = true;
        }
    }
    has_changed
}

fn complete_tools(input: &mut Value, _: &Conversation) -> bool {
    let mut has_changed = false;
    for tool in input["tools"].as_array_mut().into_iter().flatten() {
        let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) else {
            continue;
        };
        let nothing = json!({ "type": "object", "properties": {} });
        for (key, value) in [("description", "".into()), ("parameters", nothing)] {
            if function.get(key).is_none_or(Value::is_null) {
                function.insert(key.to_owned(), value);
                has_changed = true;
            }
        }
    }
    has_changed
}
