//! The tools that a request offers, and which of them it wants called.

use engine_api::ToolChoice;
use serde_json::{Map, Value, json};

use crate::api::fields::{Fields, Invalid};

/// Most tools of a request.
const TOOLS_MAX: usize = 512;

/// What a request says of tools.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Offer {
    /// Definitions: `{"type": "function", "function": {...}}`.
    pub tools: Vec<Value>,
    /// Which of them.
    pub choice: ToolChoice,
    /// Whether one answer may hold several calls.
    pub is_parallel: bool,
    /// They came as `functions`, and calls are answered as `function_call`.
    pub is_legacy: bool,
}

/// Reads `tools` and `tool_choice`, or the older `functions` and `function_call`.
pub fn parse(body: &Fields<'_>) -> Result<Offer, Invalid> {
    let tools = body.array("tools")?.unwrap_or_default();
    let functions = body.array("functions")?.unwrap_or_default();
    let is_legacy = !functions.is_empty();
    if is_legacy && !tools.is_empty() {
        let message = "is the older name of `tools`, which is there, too; leave it out";
        return Err(Invalid::value("functions", message));
    }
    let (list, of) = if is_legacy { ("functions", functions) } else { ("tools", tools) };
    if of.len() > TOOLS_MAX {
        let message = format!("must be at most {TOOLS_MAX} tools, got {}", of.len());
        return Err(Invalid::value(list, message));
    }
    let defined = of.iter().enumerate().map(|(index, value)| {
        let at = format!("{list}[{index}]");
        if is_legacy { function(at, value) } else { tool(at, value) }
    });
    let tools = defined.collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&str> = tools.iter().filter_map(name).collect();
    let chosen = choice(body, &names)?;
    let called = function_call(body, &names)?;
    // clients that know both send the other one with what it is anyway, or without anything to call
    let says_nothing =
        |choice: &Option<ToolChoice>| is_no_choice(choice) || (of.is_empty() && calls_none(choice));
    let choice = match (is_legacy, says_nothing(&chosen), says_nothing(&called)) {
        (false, _, true) => chosen,
        (true, true, _) => called,
        (false, _, false) => {
            return Err(Invalid::value("function_call", "needs `functions`; send `tool_choice`"));
        }
        (true, false, _) => {
            return Err(Invalid::value("tool_choice", "needs `tools`; send `function_call`"));
        }
    };
    let is_parallel = !is_legacy
        && (body.get("parallel_tool_calls").is_none() || body.flag("parallel_tool_calls")?);
    Ok(Offer { tools, choice: choice.unwrap_or_default(), is_parallel, is_legacy })
}

/// Whether a choice says nothing that the other field would have to say.
fn is_no_choice(choice: &Option<ToolChoice>) -> bool {
    matches!(choice, None | Some(ToolChoice::Auto))
}

fn calls_none(choice: &Option<ToolChoice>) -> bool {
    *choice == Some(ToolChoice::None)
}

fn name(tool: &Value) -> Option<&str> {
    tool["function"]["name"].as_str()
}

fn tool(at: String, value: &Value) -> Result<Value, Invalid> {
    let tool = Fields::new(at, value, &["type", "function", "custom"])?;
    match tool.text("type")? {
        None | Some("function") => {}
        Some("custom") => {
            let message = "must be \"function\": custom tools are not supported; describe it as a \
                           function with a string";
            return Err(Invalid::unsupported(tool.path("type"), message));
        }
        Some(_) => {
            let message = "must be \"function\": this gateway runs no tools itself";
            return Err(Invalid::unsupported(tool.path("type"), message));
        }
    }
    let at = tool.path("function");
    function(at.clone(), tool.get("function").ok_or_else(|| Invalid::missing(at))?)
}

/// A function, with the fields that mean something, in the client's order.
fn function(at: String, value: &Value) -> Result<Value, Invalid> {
    const KNOWN: [&str; 4] = ["name", "description", "parameters", "strict"];
    let fields = Fields::new(at, value, &KNOWN)?;
    fields.required_text("name")?;
    fields.text("description")?;
    fields.flag("strict")?;
    if let Some(schema) = fields.get("parameters").filter(|schema| !schema.is_object()) {
        return Err(Invalid::kind(fields.path("parameters"), "a JSON schema", schema));
    }
    let kept = fields.names().filter(|name| KNOWN.contains(name));
    let kept = kept.filter_map(|name| Some((name.to_owned(), fields.get(name)?.clone())));
    Ok(json!({ "type": "function", "function": kept.collect::<Map<_, _>>() }))
}

fn choice(body: &Fields<'_>, names: &[&str]) -> Result<Option<ToolChoice>, Invalid> {
    const NAME: &str = "tool_choice";
    let choice = match body.get(NAME) {
        None => return Ok(None),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            // some libraries' name of it
            "required" | "any" => ToolChoice::Required,
            _ => {
                let message = "must be \"auto\", \"none\", \"required\" or an object that names \
                               tools";
                return Err(Invalid::value(NAME, message));
            }
        },
        Some(value) => chosen(NAME, value, names)?,
    };
    let needs_tools = matches!(choice, ToolChoice::Required);
    if needs_tools && names.is_empty() {
        let message = "requires a call, but there are no tools to call; send `tools`";
        return Err(Invalid::value(NAME, message));
    }
    Ok(Some(choice))
}

/// A choice that names tools.
fn chosen(at: &str, value: &Value, names: &[&str]) -> Result<ToolChoice, Invalid> {
    let known = ["type", "function", "name", "allowed_tools", "mode", "tools"];
    let fields = Fields::new(at.to_owned(), value, &known)?;
    match fields.text("type")? {
        None | Some("function") => Ok(ToolChoice::Named(named(&fields, names)?)),
        Some("allowed_tools") => {
            let inner = match fields.get("allowed_tools") {
                Some(inner) => Fields::new(fields.path("allowed_tools"), inner, &known)?,
                // as the newer API writes it
                None => fields,
            };
            let is_required = match inner.required_text("mode")? {
                "auto" => false,
                "required" => true,
                _ => {
                    let message = "must be \"auto\" or \"required\"";
                    return Err(Invalid::value(inner.path("mode"), message));
                }
            };
            let tools = inner.array("tools")?.unwrap_or_default();
            if tools.is_empty() {
                return Err(Invalid::value(inner.path("tools"), "must name at least one tool"));
            }
            let each = tools.iter().enumerate().map(|(index, tool)| {
                let at = inner.path(&format!("tools[{index}]"));
                named(&Fields::new(at, tool, &known)?, names)
            });
            Ok(ToolChoice::Allowed { is_required, names: each.collect::<Result<_, _>>()? })
        }
        Some("custom") => {
            let message = "must be \"function\" or \"allowed_tools\": custom tools are not \
                           supported";
            Err(Invalid::unsupported(fields.path("type"), message))
        }
        Some(_) => {
            let message = "must be \"function\" or \"allowed_tools\"";
            Err(Invalid::value(fields.path("type"), message))
        }
    }
}

/// `{"function": {"name": ...}}`, or `{"name": ...}`.
fn named(fields: &Fields<'_>, names: &[&str]) -> Result<String, Invalid> {
    let function = match fields.get("function") {
        Some(function) => &Fields::new(fields.path("function"), function, &["name"])?,
        None => fields,
    };
    let name = function.required_text("name")?;
    if !names.contains(&name) {
        let shown: String = name.chars().take(64).collect();
        let message = format!("is {shown:?}, which is not among the tools");
        return Err(Invalid::value(function.path("name"), message));
    }
    Ok(name.to_owned())
}

/// The older form of the choice.
fn function_call(body: &Fields<'_>, names: &[&str]) -> Result<Option<ToolChoice>, Invalid> {
    const NAME: &str = "function_call";
    match body.get(NAME) {
        None => Ok(None),
        Some(Value::String(word)) if word == "auto" => Ok(Some(ToolChoice::Auto)),
        Some(Value::String(word)) if word == "none" => Ok(Some(ToolChoice::None)),
        Some(Value::String(_)) => {
            let message = "must be \"auto\", \"none\" or an object that names a function";
            Err(Invalid::value(NAME, message))
        }
        Some(value) => {
            let fields = Fields::new(NAME.to_owned(), value, &["name"])?;
            Ok(Some(ToolChoice::Named(named(&fields, names)?)))
        }
    }
}
