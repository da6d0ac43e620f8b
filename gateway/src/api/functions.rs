//! Tools of endpoints that spell them otherwise than chat: turned into chat's definitions, which
//! are what models' templates read.

use serde_json::{Map, Value, json};

use super::fields::{Fields, Invalid};

/// The definition of a function as chat has it. `schema` is the field with the schema of its
/// arguments; whether names are good, unlike and offered, the engine says.
pub fn definition(tool: &Fields<'_>, schema: &str) -> Result<Value, Invalid> {
    let mut function = Map::new();
    function.insert("name".into(), tool.required_text("name")?.into());
    if let Some(description) = tool.text("description")? {
        function.insert("description".into(), description.into());
    }
    match tool.get(schema) {
        Some(parameters @ Value::Object(_)) => {
            function.insert("parameters".into(), parameters.clone());
        }
        Some(other) => return Err(Invalid::kind(tool.path(schema), "a JSON schema", other)),
        None => {}
    }
    if tool.get("strict").is_some() {
        function.insert("strict".into(), tool.flag("strict")?.into());
    }
    Ok(json!({"type": "function", "function": function}))
}
