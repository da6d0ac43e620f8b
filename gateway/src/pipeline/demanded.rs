//! What the audit log says of the demanded form of an answer.

use audit::{Demanded, Digest};
use engine_api::{Constraint, Demand, PromptSource, ResponseFormat, ToolChoice};

use super::ChatRequest;

/// `None` where nothing was demanded.
pub fn demanded(request: &ChatRequest, constraint: Option<&Constraint>) -> Option<Demanded> {
    let tools = names(&request.source);
    let Demand { choice, response, .. } = &request.demand;
    if tools.is_empty() && *response == ResponseFormat::Text {
        return None;
    }
    let (tool_choice, chosen) = match choice {
        ToolChoice::Auto => ("auto", Vec::new()),
        ToolChoice::None => ("none", Vec::new()),
        ToolChoice::Required => ("required", Vec::new()),
        ToolChoice::Named(name) => ("named", vec![name.clone()]),
        ToolChoice::Allowed { is_required: false, names } => ("allowed", names.clone()),
        ToolChoice::Allowed { is_required: true, names } => ("allowed_required", names.clone()),
    };
    let response_format = match response {
        ResponseFormat::Text => "text",
        ResponseFormat::JsonObject => "json_object",
        ResponseFormat::JsonSchema(_) => "json_schema",
        ResponseFormat::Regex(_) => "regex",
        ResponseFormat::Choice(_) => "choice",
        ResponseFormat::Grammar(_) => "grammar",
    };
    Some(Demanded {
        tools,
        tool_choice: tool_choice.to_owned(),
        chosen,
        response_format: response_format.to_owned(),
        grammar: constraint.map(|constraint| Digest::of(constraint.as_str().as_bytes())),
    })
}

fn names(source: &PromptSource) -> Vec<String> {
    let PromptSource::Chat(chat) = source else { return Vec::new() };
    let name = |tool: &serde_json::Value| Some(tool["function"]["name"].as_str()?.to_owned());
    chat.tools.iter().filter_map(name).collect()
}
