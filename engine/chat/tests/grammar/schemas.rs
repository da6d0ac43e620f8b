//! Schemas: which are taken, and what is said of the others.

use engine_api::{ResponseFormat, ToolChoice};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Case, matcher};

/// One line for each.
fn check(cases: Vec<(Value, ToolChoice)>, expected: Expect) {
    let lines = cases.into_iter().map(|(tools, choice)| {
        let tools = tools.as_array().unwrap().clone();
        match (Case { tools, choice, ..Case::default() }).plan() {
            Ok(plan) => format!("{:?}\n", plan.offered),
            Err(error) => format!("{error}\n"),
        }
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn tools_that_are_wrong_are_named() {
    use ToolChoice::{Allowed, Auto, Named, Required};
    let tool = |name: &str, parameters: Value| json!({ "function": { "name": name, "parameters": parameters } });
    let two = json!([tool("a", json!({})), tool("b", json!(null))]);
    check(
        vec![
            (json!([]), Required),
            (json!([]), Allowed { is_required: true, names: vec![] }),
            (two.clone(), Named("b".into())),
            (two.clone(), Named("c".into())),
            (two.clone(), Allowed { is_required: false, names: vec!["a".into(), "c".into()] }),
            (two, Allowed { is_required: false, names: vec![] }),
            (json!([tool("a", json!({})), tool("a", json!({}))]), Auto),
            (json!([tool("a b", json!({}))]), Auto),
            (json!([{ "type": "function" }]), Auto),
            (json!([tool("a", json!([]))]), Auto),
            (json!([tool("a", json!({ "type": "array" }))]), Auto),
        ],
        expect![[r#"
            `tool_choice` requires a call, but there are no tools to call; send `tools`
            `tool_choice` requires a call, but there are no tools to call; send `tools`
            [1]
            `tool_choice` names `c`, which is not in `tools`
            `tool_choice` names `c`, which is not in `tools`
            []
            `tools[1].function.name` is `a` again; name every tool differently
            `tools[0].function.name` has to be 1 to 64 letters, digits, `_`, `-` or `.`
            `tools[0].function.name` has to be 1 to 64 letters, digits, `_`, `-` or `.`
            `tools[0].function.parameters` has to be a JSON schema, that is, an object
            `tools[0].function.parameters.type` has to be `object`
        "#]],
    );
}

#[test]
fn schemas_that_are_wrong_are_named() {
    let of = |property: Value| {
        let parameters = json!({ "properties": { "p": property } });
        json!([{ "function": { "name": "a", "parameters": parameters, "strict": true } }])
    };
    let mut deep = json!({});
    for _ in 0..80 {
        deep = json!({ "items": deep });
    }
    let wrong = [
        json!({ "type": "array", "uniqueItems": true }),
        json!({ "anyOf": [{ "type": "null" }, { "not": { "const": 1 } }] }),
        json!({ "items": { "if": {} } }),
        json!({ "propertyNames": { "pattern": "^a" } }),
        json!({ "$ref": "#/$defs/X" }),
        json!({ "$ref": "https://example.org/x" }),
        json!({ "pattern": "^(?!a)" }),
        json!({ "pattern": "(a)\\1" }),
        json!({ "multipleOf": 0 }),
        json!({ "anyOf": 1 }),
        json!("string"),
        json!({ "type": "str" }),
        json!({ "type": ["string", 1] }),
        json!({ "type": "array", "minItems": -1 }),
        json!({ "type": "string", "maxLength": 1.5 }),
        json!({ "type": "number", "exclusiveMinimum": true }),
        json!({ "enum": [] }),
        json!({ "required": "p" }),
        json!({ "const": "x".repeat(300_000) }),
    ];
    let cases = wrong.into_iter().map(|schema| (of(schema), ToolChoice::Auto)).collect();
    check(
        cases,
        expect![[r#"
            `tools[0].function.parameters.properties.p.uniqueItems`: the keyword `uniqueItems` cannot be enforced; express it otherwise
            `tools[0].function.parameters.properties.p.anyOf[1].not`: the keyword `not` cannot be enforced; express it otherwise
            `tools[0].function.parameters.properties.p.items.if`: the keyword `if` cannot be enforced; express it otherwise
            `tools[0].function.parameters.properties.p.propertyNames`: the keyword `propertyNames` cannot be enforced; express it otherwise
            `tools[0].function.parameters.properties.p.$ref` refers to `#/$defs/X`, which is not in the schema
            `tools[0].function.parameters.properties.p.$ref` refers to `https://example.org/x`, which is not in the schema
            `tools[0].function.parameters.properties.p.pattern` has to be a regular expression without look-around and references back
            `tools[0].function.parameters.properties.p.pattern` has to be a regular expression without look-around and references back
            `tools[0].function.parameters.properties.p.multipleOf` has to be a number above 0
            `tools[0].function.parameters.properties.p.anyOf` has to be a list of schemas
            `tools[0].function.parameters.properties.p` has to be a schema, that is, an object or a boolean
            `tools[0].function.parameters.properties.p.type` has to be the name of a JSON type, or a list of such names
            `tools[0].function.parameters.properties.p.type` has to be the name of a JSON type, or a list of such names
            `tools[0].function.parameters.properties.p.minItems` has to be a whole number, 0 or more
            `tools[0].function.parameters.properties.p.maxLength` has to be a whole number, 0 or more
            `tools[0].function.parameters.properties.p.exclusiveMinimum` has to be a number
            `tools[0].function.parameters.properties.p.enum` has to be a list of values
            `tools[0].function.parameters.properties.p.required` has to be a list of names
            `tools[0].function.parameters` has 300049 bytes, at most 262144 are accepted
        "#]],
    );
    // what is never called is checked, too
    check(
        vec![(of(json!({ "not": {} })), ToolChoice::None)],
        expect![[r#"
        `tools[0].function.parameters.properties.p.not`: the keyword `not` cannot be enforced; express it otherwise
    "#]],
    );
    let tools = of(deep).as_array().unwrap().clone();
    let error = Case { tools, ..Case::default() }.plan().unwrap_err().to_string();
    assert!(error.ends_with("is nested too deep (over 64)"), "{error}");
}

/// Schemas as client libraries write them, and what restricts nothing.
#[test]
fn schemas_of_clients_compile() {
    let schemas = [
        // pydantic
        json!({
            "$defs": {
                "Colour": { "enum": ["red", "green"], "title": "Colour", "type": "string" },
                "Part": {
                    "properties": {
                        "colour": { "$ref": "#/$defs/Colour" },
                        "size": { "anyOf": [{ "type": "number" }, { "type": "null" }], "default": null, "title": "Size" },
                        "parts": { "items": { "$ref": "#/$defs/Part" }, "type": "array" },
                    },
                    "required": ["colour"],
                    "title": "Part",
                    "type": "object",
                },
            },
            "properties": { "part": { "$ref": "#/$defs/Part" }, "n": { "type": "integer" } },
            "required": [],
            "title": "Order",
            "type": "object",
        }),
        // zod, draft-07 and 2020-12
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {
                "n": { "type": "integer", "minimum": -9_007_199_254_740_991i64, "maximum": 9_007_199_254_740_991i64 },
                "record": { "type": "object", "propertyNames": { "type": "string" }, "additionalProperties": {} },
                "email": { "type": "string", "format": "email", "pattern": "^[a-z]+@[a-z]+\\.[a-z]{2,}$" },
                "when": { "type": "string", "format": "date-time" },
                "odd": { "type": "string", "format": "binary" },
            },
            "required": ["n"],
            "additionalProperties": false,
        }),
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {
            "tuple": { "type": "array", "prefixItems": [{ "type": "string" }, { "type": "number" }] },
            "one": { "oneOf": [{ "type": "string" }, { "type": "integer" }] },
            "const": { "const": { "a": [1, null] } },
            "list": { "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": 20 }, "minItems": 1, "maxItems": 3, "uniqueItems": false },
            "nullable": { "type": ["string", "null"], "nullable": true, "x-order": 3, "deprecated": true },
            "number": { "type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5 },
        } }),
        json!({}),
        json!({ "type": "object", "properties": {} }),
    ];
    for schema in schemas {
        let tool = json!({ "function": { "name": "a", "parameters": schema } });
        let case = Case { tools: vec![tool], choice: ToolChoice::Required, ..Case::default() };
        let grammar = case.grammar();
        if let Err(error) = matcher(&grammar) {
            panic!("{error}\n{grammar}");
        }
        let response = ResponseFormat::JsonSchema(schema.clone());
        let grammar = Case { tools: vec![], response, ..Case::default() }.grammar();
        assert!(matcher(&grammar).is_ok(), "{grammar}");
    }
}
