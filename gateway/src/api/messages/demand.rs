//! `tools`, `tool_choice`, `thinking` and `output_config`: the form of the answer.

use engine_api::{Demand, ReasoningEffort, ResponseFormat, TemplateArguments, ToolChoice};
use serde_json::Value;

use crate::api::fields::{Fields, Invalid};
use crate::api::functions;

/// Reads `tools` as definitions of functions.
pub fn tools(body: &Fields<'_>) -> Result<Vec<Value>, Invalid> {
    let tools = body.array("tools")?.unwrap_or_default().iter().enumerate();
    tools
        .map(|(index, value)| {
            let known = ["type", "name", "description", "input_schema", "strict", "cache_control"];
            let tool = Fields::new(format!("tools[{index}]"), value, &known)?;
            match tool.text("type")? {
                None | Some("custom") => {}
                Some(kind) => {
                    let shown: String = kind.chars().take(64).collect();
                    let message =
                        format!("{shown:?} is not supported; only the client's own tools are");
                    return Err(Invalid::unsupported(tool.path("type"), message));
                }
            }
            if tool.get("input_schema").is_none() {
                return Err(Invalid::missing(tool.path("input_schema")));
            }
            functions::definition(&tool, "input_schema")
        })
        .collect()
}

/// Reads everything but the tools.
pub fn demand(body: &Fields<'_>) -> Result<Demand, Invalid> {
    let (choice, is_parallel) = choice(body)?;
    let mut arguments = TemplateArguments { thinking: thinking(body)?, ..Default::default() };
    let mut response = ResponseFormat::Text;
    // the older name of `output_config.format`
    if let Some(format) = body.get("output_format") {
        response = schema("output_format".into(), format)?;
    }
    if let Some(value) = body.get("output_config") {
        let known = ["format", "effort", "task_budget"];
        let config = Fields::new("output_config".into(), value, &known)?;
        if let Some(format) = config.get("format") {
            response = schema(config.path("format"), format)?;
        }
        arguments.reasoning_effort = effort(&config)?;
        if config.get("task_budget").is_some() {
            let message = "is not supported by this gateway; leave it out";
            return Err(Invalid::unsupported(config.path("task_budget"), message));
        }
    }
    Ok(Demand { choice, is_parallel, response, arguments })
}

fn choice(body: &Fields<'_>) -> Result<(ToolChoice, bool), Invalid> {
    let Some(value) = body.get("tool_choice") else {
        return Ok((ToolChoice::Auto, true));
    };
    let known = ["type", "name", "disable_parallel_tool_use"];
    let fields = Fields::new("tool_choice".into(), value, &known)?;
    let choice = match fields.required_text("type")? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "tool" => ToolChoice::Named(fields.required_text("name")?.to_owned()),
        "none" => ToolChoice::None,
        _ => {
            let expected = "must be \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(Invalid::value(fields.path("type"), expected));
        }
    };
    Ok((choice, !fields.flag("disable_parallel_tool_use")?))
}

/// Whether the model thinks before it answers. Its budget is a hint of which models that run here
/// know nothing; `max_tokens` bounds both together, as in Anthropic's API.
fn thinking(body: &Fields<'_>) -> Result<Option<bool>, Invalid> {
    let Some(value) = body.get("thinking") else {
        return Ok(None);
    };
    let thinking = Fields::new("thinking".into(), value, &["type", "budget_tokens", "display"])?;
    thinking.count("budget_tokens")?;
    match thinking.required_text("type")? {
        "enabled" => Ok(Some(true)),
        "disabled" => Ok(Some(false)),
        "adaptive" => Ok(None),
        _ => {
            let expected = "must be \"enabled\", \"disabled\" or \"adaptive\"";
            Err(Invalid::value(thinking.path("type"), expected))
        }
    }
}

fn effort(config: &Fields<'_>) -> Result<Option<ReasoningEffort>, Invalid> {
    Ok(match config.text("effort")? {
        None => None,
        Some("low") => Some(ReasoningEffort::Low),
        Some("medium") => Some(ReasoningEffort::Medium),
        Some("high" | "xhigh" | "max") => Some(ReasoningEffort::High),
        Some(_) => {
            let expected = "must be \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"";
            return Err(Invalid::value(config.path("effort"), expected));
        }
    })
}

fn schema(at: String, value: &Value) -> Result<ResponseFormat, Invalid> {
    let format = Fields::new(at, value, &["type", "schema"])?;
    if format.required_text("type")? != "json_schema" {
        return Err(Invalid::value(format.path("type"), "must be \"json_schema\""));
    }
    match format.get("schema") {
        Some(schema @ Value::Object(_)) => Ok(ResponseFormat::JsonSchema(schema.clone())),
        Some(other) => Err(Invalid::kind(format.path("schema"), "a JSON schema", other)),
        None => Err(Invalid::missing(format.path("schema"))),
    }
}
