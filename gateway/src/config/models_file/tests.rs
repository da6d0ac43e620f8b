#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;
use crate::config::{Piece, Source, Threads};

const ZONE: &str = "[[zone]]\nid = \"eu-de-1\"\njurisdiction = \"DE\"\n";
const MODEL: &str = "[[model]]\nid = \"tiny\"\nsource = { path = \"tiny.gguf\" }\n\
    sha256 = \"b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53\"\n";
const PARTITION: &str = "[[partition]]\nid = \"cpu-0\"\nmodel = \"tiny\"\nzone = \"eu-de-1\"\n\
    threads = 2\nkv_memory = \"512MiB\"\n";

/// The three tables after each other, with one text replaced by another.
fn file(from: &str, to: &str) -> String {
    let whole = format!("{ZONE}{MODEL}{PARTITION}");
    assert!(whole.contains(from), "{from:?} is not in the file");
    whole.replacen(from, to, 1)
}

fn parse(text: &str) -> Result<ModelsConfig, ConfigError> {
    ModelsConfig::check(&Document::new("conf/models.toml", text))
}

fn check(text: &str, complaint: Expect) {
    complaint.assert_eq(&parse(text).unwrap_err().to_string());
}

#[test]
fn the_default_file_is_the_default_model() {
    let document = Document::new("models.toml", include_str!("../../../../models.toml"));
    let config = ModelsConfig::check(&document).unwrap();
    let model = &config.models[0];
    assert_eq!(model.id.as_str(), "smollm2-135m-instruct");
    assert_eq!(model.source.file_name(), "SmolLM2-135M-Instruct.Q4_1.gguf");
    assert_eq!(config.zones[0].jurisdiction.as_str(), "DE");
    assert_eq!(config.partitions[0].threads, Threads::All);
    assert_eq!(config.partitions[0].kv_memory.unwrap().bytes(), 512 << 20);
}

#[test]
fn the_models_of_tests_are_read() {
    let document = Document::new("models.toml", include_str!("../../../../tests/models.toml"));
    let models = ModelsConfig::check(&document).unwrap().models;
    assert_eq!(models[0].source.file_name(), "gemma-3-270m-q4_k_m.gguf");
    let Source::Pieces { pieces, .. } = &models[0].source else { panic!("{:?}", models[0].source) };
    assert_eq!(pieces.len(), 4);
    assert_eq!((models[0].kind, models[1].kind), (ModelKind::Generate, ModelKind::Embed));
    assert_eq!(models[1].source.file_name(), "model");
}

/// The lines that `models.toml` has for whoever wants embeddings are right once they are uncommented.
#[test]
fn the_embeddings_of_the_default_file_are_those_of_tests() {
    let of = |text: &str| ModelsConfig::check(&Document::new("models.toml", text)).unwrap();
    let default = include_str!("../../../../models.toml");
    let (before, lines) = default.split_once("# # ").unwrap();
    let lines = format!("# # {lines}");
    let lines: Vec<&str> =
        lines.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let all = of(&format!("{before}{}", lines.join("\n")));
    let tested = of(include_str!("../../../../tests/models.toml"));
    let minilm = |config: &ModelsConfig| config.models[1].clone();
    assert_eq!(minilm(&all), minilm(&tested));
    assert_eq!(minilm(&all).id.as_str(), "all-minilm-l6-v2");
}

#[test]
fn what_embeds_is_checked() {
    let embed = "threads = 2\nkind = \"embed\"\n";
    let all = "threads = 2\nkv_memory = \"512MiB\"\n";
    assert_eq!(parse(&file(all, embed)).unwrap().models[0].kind, ModelKind::Embed);
    check(
        &file("threads = 2", embed),
        expect![[
            r#"conf/models.toml:9:6: the partition `cpu-0` makes embeddings, which keep nothing in kv_memory (hint: remove the line kv_memory)"#
        ]],
    );
    check(
        &file("kv_memory = \"512MiB\"\n", ""),
        expect![[
            r#"conf/models.toml:9:6: the partition `cpu-0` has no kv_memory, where running requests are kept (hint: add, for example, kv_memory = "512MiB")"#
        ]],
    );
    check(
        &file("threads = 2", "kind = \"embeds\""),
        expect![[
            r#"conf/models.toml:12:8: unknown variant `embeds`, expected `generate` or `embed`"#
        ]],
    );
    let two = PARTITION.replace("cpu-0", "cpu-1").replace(all, embed);
    check(
        &(file("", "") + &two),
        expect![[
            r#"conf/models.toml:15:6: the partitions of the model `tiny` are of two kinds (hint: a model generates or embeds: give all of them the same kind)"#
        ]],
    );
    let template = file(all, embed).replace("sha256", "template = \"x.jinja\"\nsha256");
    check(
        &template,
        expect![[
            r#"conf/models.toml:7:12: the model `tiny` makes embeddings and has no use for a template"#
        ]],
    );
}

#[test]
fn every_form_of_a_source_is_read() {
    let source = |text: &str| {
        let text = file("{ path = \"tiny.gguf\" }", text);
        parse(&text).unwrap().models.remove(0).source
    };
    assert_eq!(source("{ path = \"/m/t.gguf\" }"), Source::Path("/m/t.gguf".into()));
    assert_eq!(source("{ path = \"t.gguf\" }"), Source::Path("conf/t.gguf".into()));
    assert_eq!(
        source("{ huggingface = \"o/n\", file = \"q/t.gguf\" }"),
        Source::Hub { repository: "o/n".into(), file: "q/t.gguf".into(), revision: "main".into() }
    );
    assert_eq!(
        source("{ wheel = \"w==1.0\", member = \"w/t.gguf\" }"),
        Source::Wheel { requirement: "w==1.0".into(), member: "w/t.gguf".into() }
    );
    let piece = |name: &str| Piece { requirement: format!("{name}==1.0"), member: "w/t".into() };
    let pieces = "{ file = \"t.gguf\", pieces = [{ wheel = \"a==1.0\", member = \"w/t\" }, \
                  { wheel = \"b==1.0\", member = \"w/t\" }] }";
    let both = Source::Pieces { file: "t.gguf".into(), pieces: vec![piece("a"), piece("b")] };
    assert_eq!(source(pieces), both);
}

#[test]
fn pieces_are_checked() {
    let refused = |text: &str| {
        let text = file("{ path = \"tiny.gguf\" }", text);
        parse(&text).unwrap_err().to_string().split_once(": ").unwrap().1.to_owned()
    };
    let one = "{ wheel = \"a==1\", member = \"t\" }";
    assert_eq!(refused("{ file = \"t.gguf\", pieces = [] }"), "a file has 1 to 1024 pieces, not 0");
    assert_eq!(
        refused(&format!("{{ file = \"t\", pieces = [{}] }}", one.replace("==1", ""))),
        "\"a\" is not a wheel: write NAME==VERSION"
    );
    assert_eq!(
        refused(&format!("{{ file = \"a/t.gguf\", pieces = [{one}] }}")),
        "\"a/t.gguf\" is not the name of a file: the pieces have folders, the whole not"
    );
    assert_eq!(
        refused(&format!("{{ file = \"t\", pieces = [{}] }}", one.replace("\"t\"", "\"../t\""))),
        "\"../t\" is not the path of a file"
    );
}

#[test]
fn what_is_not_written_has_a_default() {
    let config = parse(&file("threads = 2\n", "")).unwrap();
    assert_eq!(config.partitions[0].threads, Threads::All);
    assert!(config.partitions[0].threads.count() >= 1);
    assert_eq!(config.partitions[0].device.to_string(), "cpu");
}

#[test]
fn slips_are_named_with_what_was_meant() {
    check(
        &file("jurisdiction", "juristiction"),
        expect![
            "conf/models.toml:3:1: unknown field `juristiction`, expected one of `id`, `jurisdiction`, `operator` (hint: did you mean `jurisdiction`?)"
        ],
    );
    check(
        &file("kv_memory", "kv_memory_mb"),
        expect![
            "conf/models.toml:13:1: unknown field `kv_memory_mb`, expected one of `id`, `model`, `zone`, `kind`, `device`, `threads`, `kv_memory` (hint: did you mean `kv_memory`?)"
        ],
    );
    check(
        &file("[[partition]]", "[[partitions]]"),
        expect![
            "conf/models.toml:8:3: unknown field `partitions`, expected one of `zone`, `model`, `partition` (hint: did you mean `partition`?)"
        ],
    );
    check(
        &file("path =", "paht ="),
        expect![
            "conf/models.toml:6:12: unknown field `paht`, expected one of `wheel`, `member`, `folder`, `pieces`, `huggingface`, `file`, `revision`, `path` (hint: did you mean `path`?)"
        ],
    );
    check(
        &file("id = \"cpu-0\"", "id = \"cpu-0\"\ncolour = \"red\""),
        expect![
            "conf/models.toml:10:1: unknown field `colour`, expected one of `id`, `model`, `zone`, `kind`, `device`, `threads`, `kv_memory`"
        ],
    );
}

#[test]
fn references_must_resolve() {
    check(
        &file("zone = \"eu-de-1\"", "zone = \"eu-de-2\""),
        expect![
            "conf/models.toml:11:8: there is no zone `eu-de-2` (hint: did you mean `eu-de-1`?)"
        ],
    );
    check(
        &file("zone = \"eu-de-1\"", "zone = \"frankfurt\""),
        expect![
            "conf/models.toml:11:8: there is no zone `frankfurt` (hint: the zones are `eu-de-1`)"
        ],
    );
    check(
        &file("model = \"tiny\"", "model = \"tinny\""),
        expect!["conf/models.toml:10:9: there is no model `tinny` (hint: did you mean `tiny`?)"],
    );
    let unused = file("[[model]]", &format!("{}[[model]]", MODEL.replace("tiny\"", "huge\"")));
    check(
        &unused,
        expect![[
            r#"conf/models.toml:5:6: no [[partition]] runs the model `huge` (hint: add one with model = "huge", or remove the model)"#
        ]],
    );
}

#[test]
fn names_are_unique_and_plain() {
    check(
        &format!("{ZONE}{ZONE}{MODEL}{PARTITION}"),
        expect!["conf/models.toml:5:6: the zone `eu-de-1` is configured twice"],
    );
    check(
        &format!("{ZONE}{MODEL}{MODEL}{PARTITION}"),
        expect!["conf/models.toml:9:6: the model `tiny` is configured twice"],
    );
    check(
        &format!("{ZONE}{MODEL}{PARTITION}{PARTITION}"),
        expect!["conf/models.toml:15:6: the partition `cpu-0` is configured twice"],
    );
    check(
        &file("\"cpu-0\"", "\"../cpu\""),
        expect![[
            r#"conf/models.toml:9:6: "../cpu" is not a name: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit"#
        ]],
    );
    check(
        &file("\"cpu-0\"", "\"\""),
        expect![[
            r#"conf/models.toml:9:6: "" is not a name: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit"#
        ]],
    );
}

#[test]
fn values_are_checked_where_they_stand() {
    check(
        &file("\"DE\"", "\"de\""),
        expect![
            "conf/models.toml:3:16: `de` is not an ISO 3166 country code; write it in capital letters"
        ],
    );
    check(
        &file("\"DE\"", "\"Germany\""),
        expect!["conf/models.toml:3:16: `Germany` is not an ISO 3166 country code"],
    );
    check(
        &file("threads = 2", "threads = 0"),
        expect![[
            r#"conf/models.toml:12:11: invalid value: integer `0`, expected a number of threads from 1 to 1024, or "all""#
        ]],
    );
    check(
        &file("threads = 2", "threads = -1"),
        expect![[
            r#"conf/models.toml:12:11: invalid value: integer `-1`, expected a number of threads from 1 to 1024, or "all""#
        ]],
    );
    check(
        &file("threads = 2", "threads = \"some\""),
        expect![[
            r#"conf/models.toml:12:11: invalid value: string "some", expected a number of threads from 1 to 1024, or "all""#
        ]],
    );
    check(
        &file("threads = 2", "device = \"cuda:0\""),
        expect![[
            r#"conf/models.toml:12:10: this build cannot use "cuda:0": build it with `--features cuda`"#
        ]],
    );
    check(
        &file("threads = 2", "device = \"gpu\""),
        expect![[
            r#"conf/models.toml:12:10: unknown device "gpu": it is `cpu`, or `cuda:0` for the first GPU"#
        ]],
    );
    check(
        &file("sha256 = \"b1", "context_max = 0\nsha256 = \"b1"),
        expect!["conf/models.toml:7:15: invalid value: integer `0`, expected a nonzero u32"],
    );
}

#[test]
fn memory_has_a_unit() {
    let kv_memory = |value: &str| file("\"512MiB\"", value);
    check(
        &kv_memory("512"),
        expect![[
            r#"conf/models.toml:13:13: invalid type: integer `512`, expected memory with a unit, for example "512MiB""#
        ]],
    );
    check(
        &kv_memory("\"512\""),
        expect![[
            r#"conf/models.toml:13:13: "512" is not memory with a unit, for example "512MiB""#
        ]],
    );
    check(
        &kv_memory("\"2GB\""),
        expect![[
            r#"conf/models.toml:13:13: "2GB" is not memory with a unit, for example "512MiB"; the unit is written GiB"#
        ]],
    );
    check(
        &kv_memory("\"1.5GiB\""),
        expect![[
            r#"conf/models.toml:13:13: "1.5GiB" is not memory with a unit, for example "512MiB""#
        ]],
    );
    check(
        &kv_memory("\"GiB\""),
        expect![[
            r#"conf/models.toml:13:13: "GiB" is out of range: memory is between 1MiB and 64TiB"#
        ]],
    );
    check(
        &kv_memory("\"0MiB\""),
        expect![[
            r#"conf/models.toml:13:13: "0MiB" is out of range: memory is between 1MiB and 64TiB"#
        ]],
    );
    check(
        &kv_memory("\"99999999999999999999TiB\""),
        expect![[
            r#"conf/models.toml:13:13: "99999999999999999999TiB" is out of range: memory is between 1MiB and 64TiB"#
        ]],
    );
    assert_eq!(
        parse(&kv_memory("\"2 GiB\"")).unwrap().partitions[0].kv_memory.unwrap().bytes(),
        2 << 30
    );
}

#[test]
fn sources_are_exact() {
    let source = |text: &str| file("{ path = \"tiny.gguf\" }", text);
    check(
        &source("{ wheel = \"w\", member = \"w/t.gguf\" }"),
        expect![[r#"conf/models.toml:6:10: "w" is not a wheel: write NAME==VERSION"#]],
    );
    check(
        &source("{ wheel = \"--index-url=x==1\", member = \"w/t.gguf\" }"),
        expect![[
            r#"conf/models.toml:6:10: "--index-url=x==1" is not a wheel: write NAME==VERSION"#
        ]],
    );
    check(
        &source("{ wheel = \"w==1\", member = \"../t.gguf\" }"),
        expect![[r#"conf/models.toml:6:10: "../t.gguf" is not the path of a file"#]],
    );
    check(
        &source("{ huggingface = \"https://x/y\", file = \"t.gguf\" }"),
        expect![[
            r#"conf/models.toml:6:10: "https://x/y" is not a repository: write ORGANISATION/NAME"#
        ]],
    );
    check(
        &source("{ huggingface = \"o/n\", path = \"t.gguf\" }"),
        expect![[
            r#"conf/models.toml:6:10: a source is { wheel = "NAME==VERSION", member = "FILE" }, { wheel = "NAME==VERSION", folder = "FOLDER" }, { pieces = [{ wheel, member }, ...], file = "FILE" }, { huggingface = "ORG/NAME", file = "FILE" } or { path = "FILE" }"#
        ]],
    );
    check(
        &source("\"tiny.gguf\""),
        expect![[
            r#"conf/models.toml:6:10: invalid type: string "tiny.gguf", expected a table, for example { path = "FILE" }"#
        ]],
    );
    check(
        &file("b179", "sha256:b179"),
        expect![
            "conf/models.toml:7:10: sha256 is 64 hexadecimal digits (hint: `sha256sum FILE` prints it)"
        ],
    );
    let digest = MODEL.lines().last().unwrap();
    check(
        &file(digest, ""),
        expect!["conf/models.toml:4:1: missing field `sha256` (hint: `sha256sum FILE` prints it)"],
    );
    check(
        &file("[[partition]]", "template = \"none.jinja\"\n[[partition]]"),
        expect![
            "conf/models.toml:8:12: cannot read the template conf/none.jinja: No such file or directory (os error 2)"
        ],
    );
}

#[test]
fn broken_and_empty_files_are_refused() {
    check("", expect!["conf/models.toml:1:1: no [[zone]] is configured"]);
    check(ZONE, expect!["conf/models.toml:1:1: no [[model]] is configured"]);
    check("[[zone", expect!["conf/models.toml:1:7: unclosed array table, expected `]]`"]);
    check(
        "\n\n  id = \"é\" x",
        expect!["conf/models.toml:3:12: unexpected key or value, expected newline, `#`"],
    );
    check("\u{0}", expect!["conf/models.toml:1:2: key with no value, expected `=`"]);
    let missing = ModelsConfig::load(Path::new("/nowhere/models.toml")).unwrap_err();
    expect!["cannot read /nowhere/models.toml (hint: name it with --models, or start where models.toml is)"]
        .assert_eq(&missing.to_string());
}

#[test]
fn formats_are_named() {
    use engine_api::{CallFormat, ReasoningFormat};
    let with = |line: &str| file("id = \"tiny\"\n", &format!("id = \"tiny\"\n{line}\n"));
    let model = |line: &str| parse(&with(line)).unwrap().models.remove(0);
    assert_eq!(model("tool_calls = \"llama3_json\"").tool_calls, Some(CallFormat::Llama3Json));
    assert_eq!(model("reasoning = \"think\"").reasoning, Some(ReasoningFormat::Think));
    assert_eq!((model("").tool_calls, model("").reasoning), (None, None));
    check(
        &with("tool_calls = \"xml\""),
        expect![
            "conf/models.toml:6:14: `xml` is no tool-call format; use one of hermes, qwen, llama3_json, mistral, pythonic, gemma, deepseek, harmony, json"
        ],
    );
    check(
        &with("reasoning = \"yes\""),
        expect![
            "conf/models.toml:6:13: `yes` is no reasoning format; use one of none, think, mistral"
        ],
    );
}
