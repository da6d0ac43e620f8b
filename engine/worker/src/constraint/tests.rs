#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_api::{CacheNamespace, Constraint, EngineError};
use engine_text::{Control, GgufHeader, Tokenizer};
use engine_tiny::TinyModel;

use super::grammars::Grammars;
use super::guide::Guide;

fn tiny() -> Grammars {
    let bytes = TinyModel::default().to_bytes();
    let header = GgufHeader::parse(bytes.as_slice(), bytes.len() as u64).unwrap();
    Grammars::new(Arc::new(Tokenizer::from_gguf(&header).unwrap()))
}

/// The vocabulary of a real model.
fn real(path: &str) -> Arc<Tokenizer> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    assert!(path.is_file(), "no model at {}: run tests/run, which fetches it", path.display());
    Arc::new(Tokenizer::from_gguf(&GgufHeader::read(&path).unwrap()).unwrap())
}

const SMOLLM2: &str = "data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
const GEMMA: &str = "data/models/gemma3-270m/gemma-3-270m-q4_k_m.gguf";

impl Grammars {
    fn guide(&self, grammar: &str) -> Result<Guide, EngineError> {
        let constraint = Constraint::new(grammar).unwrap();
        let matcher = self.compiled(CacheNamespace([0; 16]), &constraint)?;
        Ok(Guide::new(matcher.deep_clone()))
    }
}

/// What is said of a grammar that cannot be used, and in what time.
fn refusal(grammar: &str) -> (String, Duration) {
    let grammars = tiny();
    let begun = Instant::now();
    let guide = on_a_large_stack(|| grammars.guide(grammar).map(|_| ()));
    let said = guide.err().map_or("taken".to_owned(), |error| error.to_string());
    (said, begun.elapsed())
}

/// As the threads that compile have it.
fn on_a_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 20);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

#[test]
fn what_is_no_grammar_is_refused_with_its_reason() {
    let cases = [
        "start: \"a",
        "begin: \"a\"",
        "start: nothing",
        "start: /(?=a)b/",
        "start: /(a)\\1/",
        "start: %json { \"type\": \"strin\" }",
        "start: %json { \"type\": ",
        "start: <[9999]>",
        "start: <nothing>",
    ];
    for grammar in cases {
        let (said, _) = refusal(grammar);
        println!("{grammar:?}: {said:?}");
        assert!(said.starts_with("`grammar` made of `response_format` or `tools`"), "{said}");
        assert!(said.len() > 90, "it says why: {said}");
    }
}

#[test]
fn what_would_take_too_much_is_refused_in_time() {
    let chain = |count: usize| -> String {
        let rules = (0..count).map(|number| format!("r{number}: r{} \"a\"\n", number + 1));
        format!("start: r0\n{}r{count}: \"b\"", rules.collect::<String>())
    };
    let refs = |count: usize| -> String {
        let defs: Vec<String> = (0..count)
            .map(|number| {
                format!(
                    r##""d{number}": {{"type":"array","items":{{"$ref":"#/$defs/d{}"}}}}"##,
                    number + 1
                )
            })
            .collect();
        format!(
            r##"start: %json {{ "$defs": {{ {}, "d{count}": {{}} }}, "$ref": "#/$defs/d0" }}"##,
            defs.join(",")
        )
    };
    let names: Vec<String> = (0..20_000).map(|number| format!("\"value {number}\"")).collect();
    let fields: Vec<String> =
        (0..12_000).map(|number| format!("\"f{number}\": {{\"type\":\"string\"}}")).collect();
    let cases = [
        ("nested brackets", format!("start: {}\"a\"{}", "(".repeat(30_000), ")".repeat(30_000))),
        ("nested pattern", format!("start: /{}a{}/", "(".repeat(30_000), ")".repeat(30_000))),
        (
            "nested JSON",
            format!("start: %json {}{}", "{\"items\":".repeat(20_000), "}".repeat(20_000)),
        ),
        ("nested optional", format!("start: \"a\"{}", "?".repeat(30_000))),
        ("long chain of rules", chain(15_000)),
        ("too many rules", chain(25_000)),
        ("long chain of schemas", refs(8_000)),
        ("left recursion", "start: start \"a\" | \"b\"".into()),
        ("only itself", "start: start".into()),
        ("each other", "start: a\na: b\nb: a".into()),
        ("never ends", "start: \"a\" start".into()),
        ("repeated", "start: /(a{1000}){1000}/".into()),
        ("repeated much", "start: /((a{1000}){1000}){1000}/".into()),
        ("repeated rule", "start: (\"a\" | \"b\"){1000000000}".into()),
        ("repeated letters", "start: /[a-z]{1,100000000}/".into()),
        ("length of a text", r#"start: %json {"type":"string","maxLength":1000000000}"#.into()),
        ("length of a list", r#"start: %json {"type":"array","minItems":100000000}"#.into()),
        ("bomb", "start: /(a|a)*(a|a)*(a|a)*(a|a)*(a?){200}b/".into()),
        ("states", "start: /.*a.{40}/".into()),
        ("both", "start: /(.*a.{30})/ & /(.*b.{31})/ & ~/(.*c.{29})/".into()),
        ("many values", format!("start: %json {{\"enum\":[{}]}}", names.join(","))),
        (
            "many fields",
            format!("start: %json {{\"type\":\"object\",\"properties\":{{{}}}}}", fields.join(",")),
        ),
        ("long text", format!("start: \"{}\"", "a".repeat(500_000))),
        ("long class", format!("start: /[{}]/", "aé".repeat(150_000))),
        ("alternatives", format!("start: /{}a/", "a|bc|".repeat(100_000))),
    ];
    for (name, grammar) in cases {
        let grammar: String = grammar.chars().take(Constraint::BYTES_MAX).collect();
        let (said, took) = refusal(&grammar);
        println!("{name}: {took:?} {said}");
        assert!(took < Duration::from_secs(60), "{name} took {took:?}");
        assert!(said.len() < 700 && !said.contains("panic"), "{said}");
    }
}

/// A guide that was asked for masks and forced tokens all along, and one that only took the tokens.
#[test]
fn the_way_to_a_place_does_not_matter() {
    for path in [SMOLLM2, GEMMA] {
        let tokenizer = real(path);
        let grammars = Grammars::new(tokenizer.clone());
        let grammar = r#"start: "Result: " %json {"type":"object","properties":{"city name":{"type":"string","maxLength":30},"unit":{"enum":["celsius","fahrenheit"]},"days":{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}},"required":["city name","unit","days"],"additionalProperties":false,"x-guidance":{"whitespace_flexible":false}} "\n\nThat is all, as far as I know.""#;
        let begun = Instant::now();
        grammars.guide("start: \"a\"").unwrap();
        println!("{path}: vocabulary prepared in {:?}", begun.elapsed());
        let begun = Instant::now();
        grammars.guide(grammar).unwrap();
        println!("{path}: grammar compiled in {:?}", begun.elapsed());
        let begun = Instant::now();
        let mut asked = grammars.guide(grammar).unwrap();
        println!("{path}: a guide of a known grammar in {:?}", begun.elapsed());
        let (mut forcing, mut masking, mut taking) = <[Vec<Duration>; 3]>::default().into();
        let (mut tokens, mut dice, mut forced_tokens) = (Vec::new(), 7u64, 0);
        while !asked.is_complete() && tokens.len() < 200 {
            let begun = Instant::now();
            let forced = asked.forced(32);
            forcing.push(begun.elapsed());
            let mut fresh = grammars.guide(grammar).unwrap();
            tokens.iter().for_each(|id| fresh.take(*id).unwrap());
            let begun = Instant::now();
            let allowed = asked.allowed().unwrap();
            masking.push(begun.elapsed());
            assert!(allowed == fresh.allowed().unwrap(), "{path}: after {}", tokens.len());
            assert_eq!(fresh.may_end(), asked.may_end());
            for (index, id) in forced.iter().enumerate() {
                let allowed = if index == 0 { allowed.clone() } else { asked.allowed().unwrap() };
                let others = (0..tokenizer.vocabulary()).filter(|other| allowed.has(*other));
                assert!(others.eq([*id]), "{path}: a forced token is the only one");
                asked.take(*id).unwrap();
                tokens.push(*id);
            }
            forced_tokens += forced.len();
            if forced.is_empty() {
                let ids: Vec<u32> =
                    (0..tokenizer.vocabulary()).filter(|id| allowed.has(*id)).collect();
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
                let id = ids[(dice >> 33) as usize % ids.len()];
                let begun = Instant::now();
                asked.take(id).unwrap();
                taking.push(begun.elapsed());
                tokens.push(id);
            }
        }
        for (name, times) in [("forced", forcing), ("mask", masking), ("take", taking)] {
            let (sum, most) = (times.iter().sum::<Duration>(), times.iter().max().unwrap());
            println!("{path}: {name}: {:?} each, {most:?} at most", sum / times.len() as u32);
        }
        let text = tokenizer.decode(&tokens);
        println!("{path}: {} tokens, {forced_tokens} forced: {text}", tokens.len());
        assert!(asked.is_complete() && text.starts_with("Result: {") && forced_tokens > 20);
        // forced text has the spelling of prompts
        let spelled = tokenizer.encode("\n\nThat is all, as far as I know.", Control::Never);
        assert!(tokens.ends_with(&spelled[1..]), "{path}");
    }
}
