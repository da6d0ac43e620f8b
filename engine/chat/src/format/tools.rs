//! The tools that a request offers, as far as a parser needs to know them.

use std::collections::HashMap;

use serde_json::Value;

/// The names of the tools, and which of their parameters may be something else than a text.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// For each tool its parameters.
    by_name: HashMap<String, HashMap<String, Kinds>>,
}

/// What a parameter may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds {
    /// A text.
    pub may_be_text: bool,
    /// Anything but a text.
    pub may_be_other: bool,
}

impl Kinds {
    /// Where nothing is known: formats without types write texts.
    pub const TEXT: Self = Self { may_be_text: true, may_be_other: false };
    const ANY: Self = Self { may_be_text: true, may_be_other: true };
}

impl Tools {
    /// Reads the definitions as clients send them: `{"type": "function", "function": {"name":
    /// ..., "parameters": schema}}`. What is no such definition is left out.
    pub fn of(definitions: &[Value]) -> Self {
        let by_name = definitions.iter().filter_map(|definition| {
            let function = definition.get("function").unwrap_or(definition);
            let name = function.get("name")?.as_str()?.to_owned();
            let schema = function.get("parameters").unwrap_or(&Value::Null);
            let parameters = schema.get("properties").and_then(Value::as_object);
            let kinds = parameters
                .into_iter()
                .flatten()
                .map(|(name, parameter)| (name.clone(), kinds(parameter, schema, 8)));
            Some((name, kinds.collect()))
        });
        Self { by_name: by_name.collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether this tool is offered.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// What a parameter may be.
    pub(super) fn kinds(&self, tool: &str, parameter: &str) -> Kinds {
        let known = self.by_name.get(tool).and_then(|parameters| parameters.get(parameter));
        known.copied().unwrap_or(Kinds::TEXT)
    }
}

/// `depth`: how many more references and alternatives are followed.
fn kinds(schema: &Value, root: &Value, depth: usize) -> Kinds {
    let Some(schema) = schema.as_object().filter(|_| depth > 0) else {
        return Kinds::ANY;
    };
    let of_value =
        |value: &Value| Kinds { may_be_text: value.is_string(), may_be_other: !value.is_string() };
    let of_type =
        |name: &Value| Kinds { may_be_text: name == "string", may_be_other: name != "string" };
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(Kinds::ANY, |target| kinds(target, root, depth - 1));
    }
    let one_of = |list: &Value, of: &dyn Fn(&Value) -> Kinds| {
        let all = list.as_array().into_iter().flatten().map(of);
        all.reduce(|one, other| Kinds {
            may_be_text: one.may_be_text || other.may_be_text,
            may_be_other: one.may_be_other || other.may_be_other,
        })
        .unwrap_or(Kinds::ANY)
    };
    match schema.get("type") {
        Some(Value::Array(names)) => return one_of(&Value::Array(names.clone()), &of_type),
        Some(name) => return of_type(name),
        None => {}
    }
    if let Some(value) = schema.get("const") {
        return of_value(value);
    }
    if let Some(values) = schema.get("enum") {
        return one_of(values, &of_value);
    }
    match schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        Some(alternatives) => one_of(alternatives, &|one| kinds(one, root, depth - 1)),
        None => Kinds::ANY,
    }
}
