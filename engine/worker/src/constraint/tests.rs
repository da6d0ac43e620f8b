#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_api::{CacheNamespace, Constraint, EngineError};
use engine_text::{Control, GgufHeader, Tokenizer};
use engine_tiny::TinyModel;

use super::grammars::Grammars;
use super::guide::{Allowed, Guide};

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

/// What is said of a grammar that cannot be used.
fn refusal(grammar: &str) -> String {
    let guide = tiny().guide(grammar);
    guide.err().map_or("taken".to_owned(), |error| error.to_string())
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
        let said = refusal(grammar);
        println!("{grammar:?}: {said:?}");
        assert!(said.starts_with("`grammar` made of `response_format` or `tools`"), "{said}");
        assert!(said.len() > 75, "it says why: {said}");
    }
}

/// Rules that go ever deeper.
fn chain(count: usize) -> String {
    let rules = (0..count).map(|number| format!("r{number}: r{} \"a\"\n", number + 1));
    format!("start: r0\n{}r{count}: \"b\"", rules.collect::<String>())
}

/// Schemas that refer to each other, ever deeper.
fn references(count: usize) -> String {
    let schema = |number: usize| {
        format!(r##""d{number}":{{"type":"array","items":{{"$ref":"#/$defs/d{}"}}}}"##, number + 1)
    };
    let all: Vec<String> = (0..count).map(schema).collect();
    let all = all.join(",");
    format!(r##"start: %json {{ "$defs": {{ {all}, "d{count}": {{}} }}, "$ref": "#/$defs/d0" }}"##)
}

/// What is made to be large, by name.
fn bombs() -> Vec<(&'static str, String)> {
    let nested =
        |open: &str, close: &str| format!("{}\"a\"{}", open.repeat(30_000), close.repeat(30_000));
    let names: Vec<String> = (0..20_000).map(|number| format!("\"value {number}\"")).collect();
    let fields: Vec<String> =
        (0..12_000).map(|number| format!("\"f{number}\": {{\"type\":\"string\"}}")).collect();
    let (names, fields) = (names.join(","), fields.join(","));
    vec![
        ("nested brackets", format!("start: {}", nested("(", ")"))),
        ("nested pattern", format!("start: /{}/", nested("(", ")"))),
        ("nested JSON", format!("start: %json {}", nested("{\"items\":", "}"))),
        ("nested optional", format!("start: \"a\"{}", "?".repeat(30_000))),
        ("long chain of rules", chain(15_000)),
        ("too many rules", chain(25_000)),
        ("long chain of schemas", references(8_000)),
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
        ("both", "start: BOTH\nBOTH: /.*a.{30}/ & /.*b.{31}/ & ~/.*c.{29}/".into()),
        ("many values", format!("start: %json {{\"enum\":[{names}]}}")),
        ("most fields", {
            let fields: Vec<&str> = fields.split(',').take(1000).collect();
            let object = format!("{{\"type\":\"object\",\"properties\":{{{}}}}}", fields.join(","));
            format!(
                "start: %json {{\"type\":\"array\",\"prefixItems\":[{object},{object},{object}]}}"
            )
        }),
        (
            "many fields",
            format!("start: %json {{\"type\":\"object\",\"properties\":{{{fields}}}}}"),
        ),
        ("long text", format!("start: \"{}\"", "a".repeat(500_000))),
        ("long class", format!("start: /[{}]/", "aé".repeat(150_000))),
        ("alternatives", format!("start: /{}a/", "a|bc|".repeat(100_000))),
    ]
}

/// Whatever comes is compiled and followed for a while, or refused, and neither takes long or much.
#[test]
fn what_would_take_too_much_is_bounded() {
    for (name, mut grammar) in bombs() {
        grammar.truncate(grammar.floor_char_boundary(Constraint::BYTES_MAX));
        let grammars = tiny();
        let begun = Instant::now();
        let compiled = on_a_large_stack(|| grammars.guide(&grammar));
        let took = begun.elapsed();
        let said = match compiled {
            Ok(guide) => follow(guide),
            Err(error) => error.to_string(),
        };
        println!("{name}: {took:?}, {:?} after: {said}", begun.elapsed() - took);
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}: {:?}", begun.elapsed());
        assert!(said.len() < 700 && !said.contains("panic"), "{said}");
    }
}

/// Goes on by chance as far as it goes, and not too far.
fn follow(mut guide: Guide) -> String {
    let mut dice = 5u64;
    for taken in 0..60 {
        if guide.is_complete() {
            return format!("complete after {taken}");
        }
        let next = guide.allowed().and_then(|allowed| {
            let ids: Vec<u32> = (3..267).filter(|id| allowed.has(*id)).collect();
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            // none is left where it can only end
            let id = ids.get((dice >> 33) as usize % ids.len().max(1)).copied();
            id.map(|id| guide.take(id)).transpose()
        });
        match next {
            Ok(Some(())) => {}
            Ok(None) => return format!("ends after {taken}"),
            Err(lost) => return format!("lost after {taken}: {lost}"),
        }
    }
    "goes on".to_owned()
}

/// Text that is forced, text that is free, and both ends of it.
const REPORT: &str = r#"start: "Result: " %json {"type":"object","properties":{"city name":{"type":"string","maxLength":30},"unit":{"enum":["celsius","fahrenheit"]},"days":{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}},"required":["city name","unit","days"],"additionalProperties":false,"x-guidance":{"whitespace_flexible":false}} "\n\nThat is all, as far as I know.""#;

/// How long each call took.
#[derive(Default)]
struct Times {
    forced: Vec<Duration>,
    mask: Vec<Duration>,
    take: Vec<Duration>,
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    times.push(begun.elapsed());
    result
}

/// Walks to the end of the report by chance, asking for everything on the way. A guide that only
/// takes the tokens is at the same place everywhere. Gives the tokens, and how many were forced.
fn walk(grammars: &Grammars, tokenizer: &Tokenizer, times: &mut Times) -> (Vec<u32>, usize) {
    let mut asked = grammars.guide(REPORT).unwrap();
    let (mut tokens, mut dice, mut forced_tokens) = (Vec::new(), 7u64, 0);
    let all = |allowed: &Allowed| -> Vec<u32> {
        (0..tokenizer.vocabulary()).filter(|id| allowed.has(*id)).collect()
    };
    while !asked.is_complete() && tokens.len() < 200 {
        let forced = timed(&mut times.forced, || asked.forced(32));
        let allowed = timed(&mut times.mask, || asked.allowed().unwrap());
        let mut fresh = grammars.guide(REPORT).unwrap();
        tokens.iter().for_each(|id| fresh.take(*id).unwrap());
        assert!(allowed == fresh.allowed().unwrap(), "after {} tokens", tokens.len());
        assert_eq!(fresh.may_end(), asked.may_end());
        forced_tokens += forced.len();
        for (index, id) in forced.iter().enumerate() {
            let allowed = if index == 0 { allowed.clone() } else { asked.allowed().unwrap() };
            assert_eq!(all(&allowed), [*id], "a forced token is the only one");
            asked.take(*id).unwrap();
            tokens.push(*id);
        }
        if forced.is_empty() {
            let ids = all(&allowed);
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            let id = ids[(dice >> 33) as usize % ids.len()];
            timed(&mut times.take, || asked.take(id).unwrap());
            tokens.push(id);
        }
    }
    assert!(asked.is_complete());
    (tokens, forced_tokens)
}

#[test]
fn the_way_to_a_place_does_not_matter() {
    for path in [SMOLLM2, GEMMA] {
        let tokenizer = real(path);
        let grammars = Grammars::new(tokenizer.clone());
        let mut compiling = Vec::new();
        for grammar in ["start: \"a\"", REPORT, REPORT] {
            timed(&mut compiling, || grammars.guide(grammar).unwrap());
        }
        println!("{path}: the vocabulary, a grammar, the same again: {compiling:?}");
        let mut times = Times::default();
        let (tokens, forced_tokens) = walk(&grammars, &tokenizer, &mut times);
        for (name, times) in [("forced", times.forced), ("mask", times.mask), ("take", times.take)]
        {
            let (sum, most) = (times.iter().sum::<Duration>(), times.iter().max().unwrap());
            println!("{path}: {name}: {:?} each, {most:?} at most", sum / times.len() as u32);
        }
        let text = tokenizer.decode(&tokens);
        println!("{path}: {} tokens, {forced_tokens} forced: {text}", tokens.len());
        assert!(text.starts_with("Result: {") && forced_tokens > 20);
        // forced text has the spelling of prompts
        let spelled = tokenizer.encode("That is all, as far as I know.", Control::Never);
        assert!(tokens.ends_with(&spelled[1..]), "{path}");
    }
}
