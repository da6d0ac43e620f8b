//! The tools that a request offers, as far as a parser needs to know them.

use std::collections::HashMap;

use serde_json::Value;

/// How many references and alternatives are followed.
pub const DEPTH_MAX: usize = 8;

/// The names of the tools, and which of their parameters may be something else than a text.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// For each tool its parameters.
    by_name: HashMap<String, HashMap<String, Kinds>>,
}

/// What a parameter may be: a set of JSON's kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u8);

impl Kinds {
    /// A text. Also where nothing is known: formats without types write texts.
    pub const TEXT: Self = Self(1);
    const INTEGER: Self = Self(2);
    /// A number with a fraction or an exponent.
    const FRACTION: Self = Self(4);
    const BOOLEAN: Self = Self(8);
    const NULL: Self = Self(16);
    const LIST: Self = Self(32);
    const OBJECT: Self = Self(64);
    const ANY: Self = Self(127);
    /// All that have no parts.
    pub const PLAIN: Self = Self(31);

    /// Whether each of the other's kinds is among these.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kind of a JSON text.
    pub fn of_json(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'"') => Self::TEXT,
            Some(b'{') => Self::OBJECT,
            Some(b'[') => Self::LIST,
            Some(b't' | b'f') => Self::BOOLEAN,
            Some(b'n') => Self::NULL,
            _ if text.contains(['.', 'e', 'E']) => Self::FRACTION,
            _ => Self::INTEGER,
        }
    }

    fn of_type(name: &Value) -> Self {
        match name.as_str() {
            Some("string") => Self::TEXT,
            Some("integer") => Self::INTEGER,
            Some("number") => Self::INTEGER.with(Self::FRACTION),
            Some("boolean") => Self::BOOLEAN,
            Some("null") => Self::NULL,
            Some("array") => Self::LIST,
            Some("object") => Self::OBJECT,
            _ => Self::ANY,
        }
    }

    /// Reads them from a parameter's schema. `depth`: how many more references and
    /// alternatives are followed.
    pub fn of_schema(schema: &Value, root: &Value, depth: usize) -> Self {
        let Some(schema) = schema.as_object().filter(|_| depth > 0) else {
            return Self::ANY;
        };
        let any_of = |list: &Value, of: &dyn Fn(&Value) -> Self| {
            let each = list.as_array().into_iter().flatten().map(of);
            each.reduce(Self::with).unwrap_or(Self::ANY)
        };
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return target.map_or(Self::ANY, |target| Self::of_schema(target, root, depth - 1));
        }
        match schema.get("type") {
            Some(names @ Value::Array(_)) => return any_of(names, &Self::of_type),
            Some(name) => return Self::of_type(name),
            None => {}
        }
        let of_value = |value: &Value| Self::of_json(&value.to_string());
        match (schema.get("const"), schema.get("enum")) {
            (Some(value), _) => return of_value(value),
            (None, Some(values)) => return any_of(values, &of_value),
            (None, None) => {}
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")) {
            Some(alternatives) => {
                any_of(alternatives, &|one| Self::of_schema(one, root, depth - 1))
            }
            None => Self::ANY,
        }
    }
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
            let kinds = parameters.into_iter().flatten().map(|(name, parameter)| {
                (name.clone(), Kinds::of_schema(parameter, schema, DEPTH_MAX))
            });
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
