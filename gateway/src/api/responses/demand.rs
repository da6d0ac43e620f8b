//! `tools`, `tool_choice`, `parallel_tool_calls`, `text` and `reasoning`: the form of the answer.

use engine_api::{Demand, ResponseFormat, TemplateArguments, ToolChoice};
use serde_json::Value;

use crate::api::effort::effort;
use crate::api::fields::{Fields, Invalid};
use crate::api::functions;

/// Reads `tools` as definitions of functions.
pub fn tools(body: &Fields<'_>) -> Result<Vec<Value>, Invalid> {
    let tools = body.array("tools")?.unwrap_or_default().iter().enumerate();
    tools
        .map(|(index, value)| {
            let known = ["type", "name", "description", "parameters", "strict"];
            let tool = Fields::new(format!("tools[{index}]"), value, &known)?;
            match tool.required_text("type")? {
                "function" => functions::definition(&tool, "parameters"),
                kind => Err(hosted(tool.path("type"), kind)),
            }
        })
        .collect()
}

/// A tool that OpenAI runs itself, or has in a form of its own.
fn hosted(at: String, kind: &str) -> Invalid {
    let shown: String = kind.chars().take(64).collect();
    let message = format!("{shown:?} is not supported; only tools of type \"function\" are");
    Invalid::unsupported(at, message)
}

/// Reads everything but the tools.
pub fn demand(body: &Fields<'_>) -> Result<Demand, Invalid> {
    let parallel = body.get("parallel_tool_calls").is_none() || body.flag("parallel_tool_calls")?;
    Ok(Demand {
        choice: choice(body)?,
        is_parallel: parallel,
        response: format(body)?,
        arguments: reasoning(body)?,
    })
}

fn choice(body: &Fields<'_>) -> Result<ToolChoice, Invalid> {
    let expected = "must be \"auto\", \"none\", \"required\" or an object";
    let value = match body.get("tool_choice") {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => return mode("tool_choice", word, expected),
        Some(value) => value,
    };
    let fields = Fields::new("tool_choice".into(), value, &["type", "name", "mode", "tools"])?;
    match fields.required_text("type")? {
        "function" => Ok(ToolChoice::Named(fields.required_text("name")?.to_owned())),
        "allowed_tools" => allowed(&fields),
        kind => Err(hosted(fields.path("type"), kind)),
    }
}

fn mode(at: &str, word: &str, expected: &str) -> Result<ToolChoice, Invalid> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => Err(Invalid::value(at, expected)),
    }
}

fn allowed(fields: &Fields<'_>) -> Result<ToolChoice, Invalid> {
    let is_required = match fields.text("mode")? {
        None | Some("auto") => false,
        Some("required") => true,
        Some(_) => {
            return Err(Invalid::value(fields.path("mode"), "must be \"auto\" or \"required\""));
        }
    };
    let Some(tools) = fields.array("tools")?.filter(|tools| !tools.is_empty()) else {
        return Err(Invalid::value(fields.path("tools"), "must name at least one tool"));
    };
    let names = tools.iter().enumerate().map(|(index, value)| {
        let at = fields.path(&format!("tools[{index}]"));
        let tool = Fields::new(at, value, &["type", "name"])?;
        match tool.text("type")? {
            None | Some("function") => Ok(tool.required_text("name")?.to_owned()),
            Some(kind) => Err(hosted(tool.path("type"), kind)),
        }
    });
    Ok(ToolChoice::Allowed { is_required, names: names.collect::<Result<_, _>>()? })
}

fn format(body: &Fields<'_>) -> Result<ResponseFormat, Invalid> {
    let Some(value) = body.get("text") else {
        return Ok(ResponseFormat::Text);
    };
    let text = Fields::new("text".into(), value, &["format", "verbosity"])?;
    let Some(value) = text.get("format") else {
        return Ok(ResponseFormat::Text);
    };
    let known = ["type", "name", "schema", "strict", "description"];
    let format = Fields::new(text.path("format"), value, &known)?;
    match format.required_text("type")? {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => match format.get("schema") {
            Some(schema @ Value::Object(_)) => Ok(ResponseFormat::JsonSchema(schema.clone())),
            Some(other) => Err(Invalid::kind(format.path("schema"), "a JSON schema", other)),
            None => Err(Invalid::missing(format.path("schema"))),
        },
        _ => {
            let expected = "must be \"text\", \"json_object\" or \"json_schema\"";
            Err(Invalid::value(format.path("type"), expected))
        }
    }
}

/// How much the model reasons. A summary is never made: the reasoning itself is in the answer.
fn reasoning(body: &Fields<'_>) -> Result<TemplateArguments, Invalid> {
    let Some(value) = body.get("reasoning") else {
        return Ok(TemplateArguments::default());
    };
    let known = ["effort", "summary", "generate_summary"];
    effort(&Fields::new("reasoning".into(), value, &known)?, "effort")
}
