//! Answers that have to follow a grammar. The tiny model draws at random, so whatever a grammar
//! does not keep out, comes.

use engine_api::{Constraint, Seed, StopTokens};
use serde_json::{Map, Value, json};

use super::*;

/// A small generator, so that every run tries the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % bound
    }
}

/// A schema by chance. Texts and lists are short, so that a random answer comes to its end.
fn schema(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 7 } else { 10 }) {
        0 => json!({ "type": "string", "maxLength": dice.below(6) }),
        1 => json!({ "type": "string", "minLength": 2, "maxLength": 4 }),
        2 => json!({ "type": "integer", "minimum": -50, "maximum": 1000 }),
        3 => json!({ "type": "boolean" }),
        4 => json!({ "type": "null" }),
        5 => json!({ "enum": ["a \"b\"", 1, null, "é€", [true]] }),
        6 => json!({ "const": { "in": "the and the" } }),
        7 => json!({
            "type": "array", "items": schema(dice, depth - 1), "minItems": dice.below(2),
            "maxItems": 2,
        }),
        _ => object(dice, depth - 1),
    }
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    let names: Vec<String> = (0..dice.below(4)).map(|index| format!("p{index}")).collect();
    let required: Vec<&String> = names.iter().filter(|_| dice.below(2) == 0).collect();
    let required = json!(required);
    let properties: Map<String, Value> =
        names.iter().map(|name| (name.clone(), schema(dice, depth))).collect();
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

/// Whether a value fits a schema of those above, in the plainest way.
fn fits(value: &Value, schema: &Value) -> bool {
    let number = |name: &str| schema[name].as_i64();
    let within = |got: i64, least: &str, most: &str| {
        number(least).is_none_or(|least| got >= least)
            && number(most).is_none_or(|most| got <= most)
    };
    if let Some(values) = schema["enum"].as_array() {
        return values.contains(value);
    }
    if let Some(wanted) = schema.get("const") {
        return value == wanted;
    }
    match (schema["type"].as_str().unwrap(), value) {
        ("string", Value::String(text)) => {
            within(text.chars().count() as i64, "minLength", "maxLength")
        }
        ("integer", Value::Number(got)) => within(got.as_i64().unwrap(), "minimum", "maximum"),
        ("boolean", Value::Bool(_)) | ("null", Value::Null) => true,
        ("array", Value::Array(items)) => {
            within(items.len() as i64, "minItems", "maxItems")
                && items.iter().all(|item| fits(item, &schema["items"]))
        }
        ("object", Value::Object(fields)) => {
            let mut required = schema["required"].as_array().unwrap().iter();
            required.all(|name| fields.contains_key(name.as_str().unwrap()))
                && fields.iter().all(|(name, field)| {
                    schema["properties"].get(name).is_some_and(|schema| fits(field, schema))
                })
        }
        _ => false,
    }
}

fn guided(id: &str, grammar: &str) -> Submission {
    let mut wanted = submission(id, &prompt(1, 20));
    wanted.constraint = Some(Constraint::new(grammar).unwrap());
    wanted.prompt.max_tokens = 300;
    wanted.stopping.max_tokens = MaxTokens::new(300).unwrap();
    wanted
}

#[test]
fn random_answers_fit_random_schemas() {
    let mut dice = Dice(11);
    let mut bench = Bench::new(64, 200);
    let (mut whole, mut cut) = (0, 0);
    for _ in 0..60 {
        let mut schemas = Vec::new();
        for number in 0..6 {
            let schema = schema(&mut dice, 3);
            let mut wanted = guided(&number.to_string(), &format!("start: %json {schema}"));
            let temperature = [0.0, 0.5, 1.0, 2.0][dice.below(4)];
            wanted.sampling.temperature = Temperature::new(temperature).unwrap();
            wanted.sampling.seed = Seed(dice.below(1 << 30) as u64);
            wanted.stopping.ignore_eos = dice.below(4) == 0;
            wanted.stopping.min_tokens = [0, 0, 12][dice.below(3)];
            bench.submit(wanted);
            schemas.push(schema);
        }
        for (id, outcome) in bench.finish() {
            let choice = &outcome.choices[0];
            let schema = &schemas[id.parse::<usize>().unwrap()];
            assert_eq!(outcome.failed, None, "{schema}");
            match choice.reason {
                Some(FinishReason::Stop) => {
                    let text = choice.text();
                    let value = serde_json::from_str(&text).unwrap_or_else(|error| {
                        panic!("{error}: {text:?} of {schema}");
                    });
                    assert!(fits(&value, schema), "{text} of {schema}");
                    whole += 1;
                }
                _ => cut += 1,
            }
        }
    }
    assert!(whole >= 300, "{whole} whole answers, {cut} cut ones");
}

/// What came of a request: its text and its end.
fn said(wanted: Submission) -> String {
    let mut bench = Bench::new(16, 64);
    let id = wanted.id.as_str().to_owned();
    bench.submit(wanted);
    let outcome = bench.finish().remove(&id).unwrap();
    match outcome.failed {
        Some(error) => error.to_string(),
        None => {
            let choice = &outcome.choices[0];
            format!("{:?} {:?} {:?}", choice.ids(), choice.text(), choice.reason.unwrap())
        }
    }
}

#[test]
fn an_answer_ends_where_its_grammar_does() {
    // nothing can follow: no end token is drawn, whatever is asked for
    assert_eq!(said(guided("a", r#"start: "the""#)), r#"[119, 260] "the" Stop"#);
    let mut long = guided("a", r#"start: "the""#);
    (long.stopping.min_tokens, long.stopping.ignore_eos) = (9, true);
    assert_eq!(said(long), r#"[119, 260] "the" Stop"#);
    // an end token is the only thing that can come
    assert_eq!(said(guided("a", r#"start: """#)), r#"[2] "" Stop"#);
    // the answer's length cuts
    let mut short = guided("a", r#"start: "the""#);
    short.stopping.max_tokens = MaxTokens::new(1).unwrap();
    assert_eq!(said(short), r#"[119] "t" Length"#);
}

#[test]
fn an_end_token_comes_where_the_grammar_may_end() {
    let likely_end = |grammar: &str| {
        let mut wanted = guided("a", grammar);
        let bias = [(TokenId(2), 100.0), (TokenId(0), 90.0)];
        wanted.sampling.logit_bias = LogitBias::new(bias.into()).unwrap();
        wanted.stopping.max_tokens = MaxTokens::new(7).unwrap();
        wanted
    };
    let text = r#"start: "a" "b"? "ab"*"#;
    assert_eq!(said(likely_end(text)), r#"[100, 2] "a" Stop"#);
    let mut least = likely_end(text);
    least.stopping.min_tokens = 4;
    let said_least = said(least);
    assert!(said_least.ends_with("Stop") && said_least.contains(", 2]"), "{said_least}");
    assert!(said_least.matches(',').count() >= 4, "{said_least}");
    let mut ignoring = likely_end(text);
    ignoring.stopping.ignore_eos = true;
    assert!(said(ignoring).ends_with("Length"));
    // a stop token is one more end
    let mut stopping = likely_end(text);
    stopping.sampling.logit_bias = LogitBias::new([(TokenId(101), 100.0)].into()).unwrap();
    stopping.stopping.stop_tokens = StopTokens::new([TokenId(101)]).unwrap();
    assert_eq!(said(stopping), r#"[100, 101] "a" Stop"#);
    // where the answer may not end, it ends nothing
    let mut inside = likely_end(r#"start: "a" ("b" | "c") "d""#);
    inside.stopping.stop_tokens = StopTokens::new([TokenId(101), TokenId(103)]).unwrap();
    assert_eq!(said(inside), r#"[100, 102, 103] "acd" Stop"#);
}

#[test]
fn control_tokens_are_named_and_never_spelled() {
    // the text of a control token is text
    let spelled = said(guided("a", r#"start: "<|im_start|>""#));
    assert!(spelled.ends_with(r#""<|im_start|>" Stop"#) && !spelled.contains("[1"), "{spelled}");
    let named = r#"start: <[1]> "a" <[2]> "b""#;
    assert_eq!(said(guided("a", named)), r#"[1, 100, 2, 101] "ab" Stop"#);
    let mut marked = guided("a", named);
    marked.markers = vec![TokenId(1), TokenId(2)];
    assert_eq!(said(marked), r#"[1, 100, 2, 101] "<|im_start|>a<|im_end|>b" Stop"#);
    // one that ends the answer is no part of it
    let mut last = guided("a", r#"start: "a" <[2]>"#);
    last.markers = vec![TokenId(2)];
    assert_eq!(said(last), r#"[100, 2] "a" Stop"#);
}

#[test]
fn markers_need_no_grammar() {
    let mut wanted = submission("a", &prompt(1, 20));
    wanted.sampling.logit_bias = LogitBias::new([(TokenId(1), 100.0)].into()).unwrap();
    wanted.stopping.max_tokens = MaxTokens::new(2).unwrap();
    assert_eq!(said(wanted.clone()), r#"[1, 1] "" Length"#);
    wanted.markers = vec![TokenId(1)];
    assert_eq!(said(wanted), r#"[1, 1] "<|im_start|><|im_start|>" Length"#);
}

/// A text that is forced takes as few steps as it can, and is the one that comes token by token.
#[test]
fn forced_tokens_come_in_chunks() {
    let forced = "the end and the beginning, in the middle of the day and the night";
    let grammar = format!("start: \"{forced}\" /[a-z]{{5}}/ \"{forced}\"");
    let run = |forced_max: usize, draft_tokens: u32| {
        let mut bench = Bench::new(16, 64);
        bench.core.forced_max = forced_max;
        bench.core.drafts = Drafts::new(draft_tokens);
        let mut wanted = guided("a", &grammar);
        wanted.sampling.logprobs = Some(TopLogprobs::new(2).unwrap());
        bench.submit(wanted);
        let mut steps = 1;
        while bench.step() {
            steps += 1;
        }
        let outcome = bench.finish().remove("a").unwrap();
        assert_eq!(outcome.choices[0].reason, Some(FinishReason::Stop));
        (outcome, steps)
    };
    let (one_by_one, many) = run(0, 0);
    let (in_chunks, few) = run(FORCED_MAX, 0);
    assert_eq!(in_chunks, one_by_one);
    assert!(many > 80 && few < 20, "{many} steps and {few}");
    assert_eq!(run(FORCED_MAX, 8).0, one_by_one);
    assert_eq!(run(3, 8).0, one_by_one);
}

/// Another worker takes over after any token.
#[test]
fn an_answer_goes_on_from_any_of_its_tokens() {
    let schema = json!({
        "type": "object",
        "properties": {
            "the": { "type": "string", "maxLength": 6 },
            "in": { "type": "array", "items": { "enum": ["and", "an end", 7] }, "maxItems": 3 },
        },
        "required": ["the", "in"],
        "additionalProperties": false,
    });
    let mut wanted = guided("a", &format!("start: %json {schema}"));
    wanted.sampling.temperature = Temperature::new(1.0).unwrap();
    let mut bench = Bench::new(16, 64);
    bench.submit(wanted.clone());
    let whole = bench.finish().remove("a").unwrap();
    let ids = whole.choices[0].ids();
    assert_eq!(whole.choices[0].reason, Some(FinishReason::Stop));
    for count in 0..=ids.len() {
        let drawn = ids[..count].iter().copied().map(TokenId).collect();
        bench.resume(wanted.clone(), vec![drawn]);
        let rest = bench.finish().remove("a").unwrap();
        assert_eq!(rest.choices[0].ids(), ids[count..], "after {count}");
        assert_eq!(rest.choices[0].reason, whole.choices[0].reason);
    }
    let strange = vec![vec![TokenId(100)]];
    let mut foreign = wanted;
    foreign.prompt.model_digest = bench.core.card().digest;
    let refused = bench.core.submit(bench::key("a"), foreign, strange);
    assert!(matches!(refused, Err(EngineError::Invalid { param: "resume", .. })), "{refused:?}");
}

/// A grammar that cannot be followed from some point on ends its own request and no other.
#[test]
fn one_that_is_lost_is_lost_alone() {
    let mut bench = Bench::new(32, 64);
    // no token spells what has to come
    let stuck = r#"start: "a" <[9999]>"#;
    let mut wanted = guided("stuck", stuck);
    wanted.prompt.model_digest = bench.core.card().digest;
    let refused = bench.core.submit(bench::key("stuck"), wanted, Vec::new());
    assert!(matches!(refused, Err(EngineError::Invalid { param: "grammar", .. })), "{refused:?}");
    bench.submit(guided("other", r#"start: "the""#));
    assert_eq!(bench.finish()["other"].choices[0].text(), "the");
}
