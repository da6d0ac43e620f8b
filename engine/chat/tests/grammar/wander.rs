//! What a grammar lets through by chance.

use engine_api::{CallFormat, Delivery, ToolChoice};
use engine_chat::{OutputParser, ParserOptions, Tools};
use llguidance::toktrie::TokenId;
use serde_json::{Map, Value, json};

use super::{CONTROL, Case, FIRST, matcher};

/// A small generator, so that every run tries the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Walks through a grammar by chance, as a model without sense would, until it may end. `None`:
/// it does not come to an end soon.
fn wander(grammar: &str, dice: &mut Dice) -> Option<String> {
    let mut matcher = matcher(grammar).unwrap();
    let mut text = Vec::new();
    for step in 0..3000 {
        if matcher.is_accepting().unwrap() && !text.is_empty() && dice.below(3) == 0 {
            return Some(String::from_utf8(text).unwrap());
        }
        let allowed: Vec<TokenId> = matcher
            .compute_mask_or_eos()
            .unwrap()
            .to_list()
            .into_iter()
            .filter(|id| *id != FIRST)
            .collect();
        if allowed.is_empty() {
            return Some(String::from_utf8(text).unwrap());
        }
        // texts end some time
        let ends: Vec<TokenId> = allowed
            .iter()
            .copied()
            .filter(|id| *id > FIRST || b"\"}]".contains(&(*id as u8)))
            .collect();
        let from = if !ends.is_empty() && dice.below(if step > 300 { 2 } else { 4 }) == 0 {
            &ends
        } else {
            &allowed
        };
        let id = from[dice.below(from.len())];
        matcher.consume_token(id).unwrap();
        match id.checked_sub(FIRST) {
            Some(index) => text.extend(CONTROL[index as usize].as_bytes()),
            None => text.push(id as u8),
        }
    }
    None
}

/// The answer's calls: whole ones, and nothing beside them.
fn calls(case: &Case, text: &str) -> Vec<(String, Value)> {
    let plan = case.plan().unwrap();
    let options = ParserOptions {
        calls: plan.calls,
        tools: Tools::of(&case.tools),
        delivery: plan.delivery,
        ..ParserOptions::default()
    };
    let reply = OutputParser::new(options, |index| index.to_string()).read(text);
    assert!(!reply.calls.is_empty() && reply.content.is_empty(), "{text}");
    let calls = reply.calls.into_iter().map(|call| {
        assert!(call.is_whole, "{text}");
        let function = call.call.function;
        (function.name, serde_json::from_str(&function.arguments).unwrap())
    });
    calls.collect()
}

/// What a grammar forces, the parser reads: calls with arguments that fit.
#[test]
fn forced_calls_are_read() {
    let mut dice = Dice(5);
    let mut count = 0;
    for format in CallFormat::ALL {
        for has_control in [false, true] {
            let choice = ToolChoice::Required;
            let case = Case { calls: format, choice, has_control, ..Case::default() };
            assert_eq!(case.plan().unwrap().delivery, Delivery::AsTheyCome);
            for _ in 0..30 {
                let Some(text) = wander(&case.grammar(), &mut dice) else { continue };
                for (name, arguments) in calls(&case, &text) {
                    let index = usize::from(name != "get_weather");
                    let schema = &case.tools[index]["function"]["parameters"];
                    let empty = json!({ "type": "object", "additionalProperties": false });
                    let schema = if schema.is_null() { &empty } else { schema };
                    assert!(fits(&arguments, schema, schema), "{format}: {text}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 500, "only {count} calls came to an end");
}

/// A schema by chance, of what client libraries write.
fn random_schema(dice: &mut Dice, depth: usize) -> Value {
    let kinds = if depth == 0 { 7 } else { 10 };
    match dice.below(kinds) {
        0 => json!({ "type": "string" }),
        1 => json!({ "type": "string", "minLength": 1, "maxLength": 1 + dice.below(9) }),
        2 => {
            json!({ "type": "integer", "minimum": -9_007_199_254_740_991i64, "maximum": 9_007_199_254_740_991i64 })
        }
        3 => json!({ "type": "number", "minimum": -1.5, "maximum": 1e6 }),
        4 => json!({ "type": ["boolean", "null"] }),
        5 => json!({ "enum": ["a \"b\"", 1, null, "é"] }),
        6 => json!({ "anyOf": [{ "type": "integer" }, { "const": "none" }] }),
        7 => {
            json!({ "type": "array", "items": random_schema(dice, depth - 1), "minItems": dice.below(2), "maxItems": 3 })
        }
        8 => random_object(dice, depth - 1),
        _ => json!({ "$ref": "#/$defs/Shared" }),
    }
}

fn random_object(dice: &mut Dice, depth: usize) -> Value {
    let names: Vec<String> = (0..dice.below(4)).map(|index| format!("p{index}")).collect();
    let required: Vec<&String> = names.iter().filter(|_| dice.below(2) == 0).collect();
    let required = json!(required);
    let properties: Map<String, Value> =
        names.iter().map(|name| (name.clone(), random_schema(dice, depth))).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// Whether a value fits a schema of those above: a second opinion, in the plainest way.
fn fits(value: &Value, schema: &Value, root: &Value) -> bool {
    let each = schema.as_object().unwrap().iter();
    each.into_iter().all(|(keyword, wanted)| {
        let number = |value: &Value| value.as_f64().unwrap();
        match (keyword.as_str(), value) {
            ("type", _) => {
                let names = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                names.iter().any(|name| match name.as_str().unwrap() {
                    "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                    "number" => value.is_number(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("{other}"),
                })
            }
            ("$ref", _) => fits(value, root.pointer(&wanted.as_str().unwrap()[1..]).unwrap(), root),
            ("anyOf", _) => wanted.as_array().unwrap().iter().any(|one| fits(value, one, root)),
            ("enum", _) => wanted.as_array().unwrap().contains(value),
            ("const", _) => wanted == value,
            ("minimum", Value::Number(_)) => number(value) >= number(wanted),
            ("maximum", Value::Number(_)) => number(value) <= number(wanted),
            ("minLength", Value::String(text)) => text.chars().count() as f64 >= number(wanted),
            ("maxLength", Value::String(text)) => text.chars().count() as f64 <= number(wanted),
            ("minItems", Value::Array(items)) => items.len() as f64 >= number(wanted),
            ("maxItems", Value::Array(items)) => items.len() as f64 <= number(wanted),
            ("items", Value::Array(items)) => items.iter().all(|item| fits(item, wanted, root)),
            ("required", Value::Object(fields)) => wanted
                .as_array()
                .unwrap()
                .iter()
                .all(|name| fields.contains_key(name.as_str().unwrap())),
            ("properties", Value::Object(fields)) => fields.iter().all(|(name, value)| {
                wanted.get(name).is_none_or(|schema| fits(value, schema, root))
            }),
            ("additionalProperties", Value::Object(fields)) => {
                fields.keys().all(|name| schema["properties"].get(name).is_some())
            }
            _ => true,
        }
    })
}

/// Random tools, called at random.
#[test]
fn arguments_fit_random_schemas() {
    let mut dice = Dice(99);
    let mut count = 0;
    for round in 0..300 {
        let mut schema = random_object(&mut dice, 2);
        schema["$defs"] = json!({ "Shared": random_object(&mut dice, 0) });
        let tool = json!({ "type": "function", "function": { "name": "f", "parameters": schema } });
        let case = Case {
            calls: CallFormat::ALL[round % CallFormat::ALL.len()],
            choice: ToolChoice::Required,
            tools: vec![tool],
            ..Case::default()
        };
        let Some(text) = wander(&case.grammar(), &mut dice) else { continue };
        for (_, arguments) in calls(&case, &text) {
            assert!(fits(&arguments, &schema, &schema), "{arguments}\n{schema}");
            count += 1;
        }
    }
    assert!(count > 300, "only {count} calls came to an end");
}
