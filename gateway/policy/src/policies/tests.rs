use expect_test::{Expect, expect};

use super::*;
use crate::TenantId;

const GROUPS: &str = include_str!("../../../../policies/jurisdictions.toml");
const DEVELOPMENT: &str = include_str!("../../../../policies/tenants/development.toml");

const TENANT: &str = r#"tenant = "a"
jurisdictions = ["DE"]
models = ["*"]
weight = 2

[limits]
requests_per_minute = 1
concurrent_requests_max = 2
output_tokens_max = 3
prompt_tokens_max = 4
"#;

fn parse(tenant: &str) -> Result<Policies, PolicyError> {
    Policies::parse([("jurisdictions.toml", GROUPS), ("tenants/a.toml", tenant)])
}

fn shown(parsed: Result<Policies, PolicyError>) -> String {
    match parsed {
        Ok(policies) => format!("{} tenants\n", policies.tenants().count()),
        Err(error) => format!("{error}\n"),
    }
}

/// What is said when one text is replaced by the other in a good file, for each pair.
fn check(replaced: &[(&str, &str)], expected: Expect) {
    let said = replaced.iter().map(|(from, to)| {
        assert!(TENANT.contains(from), "{from}");
        shown(parse(&TENANT.replacen(from, to, 1)))
    });
    expected.assert_eq(&said.collect::<String>());
}

#[test]
fn errors_about_fields() {
    let replaced = [
        ("weight", "wieght"),
        ("requests_per_minute", "request_per_minute"),
        ("requests_per_minute = 1\n", ""),
        ("[limits]", "[limit]"),
        ("tenant = \"a\"\n", ""),
        ("\"a\"", "\"A b\""),
        ("weight = 2", "enabled = \"yes\""),
        ("weight = 2", "weight = 2\nweight = 3"),
        ("weight = 2", "weight ="),
    ];
    check(
        &replaced,
        expect![[r#"
        tenants/a.toml:4: unknown field `wieght`; did you mean `weight`?
        tenants/a.toml:7: unknown field `request_per_minute`; did you mean `requests_per_minute`?
        tenants/a.toml:6: missing field `requests_per_minute`
        tenants/a.toml:6: unknown field `limit`; did you mean `limits`?
        tenants/a.toml:1: missing field `tenant`
        tenants/a.toml:1: a tenant's name has 1 to 64 lower-case letters, digits and hyphens, and begins and ends with a letter or digit
        tenants/a.toml:4: invalid type: string "yes", expected a boolean
        tenants/a.toml:5: duplicate key
        tenants/a.toml:4: string values must be quoted, expected literal string
    "#]],
    );
}

#[test]
fn errors_about_places_and_models() {
    let replaced = [
        ("[\"DE\"]", "[\"DE\",\n\"UE\"]"),
        ("[\"DE\"]", "[\"EEa\"]"),
        ("[\"DE\"]", "[\"Germany\"]"),
        ("[\"DE\"]", "[\"de\"]"),
        ("[\"DE\"]", "[]"),
        ("[\"DE\"]", "\"DE\""),
        ("[\"*\"]", "[]"),
        ("[\"*\"]", "[\"*\", \"small\"]"),
        ("[\"*\"]", "[\"sm*\"]"),
    ];
    check(
        &replaced,
        expect![[r#"
        tenants/a.toml:3: `UE` is not an ISO 3166 country code; groups in jurisdictions.toml: EEA, EU
        tenants/a.toml:2: there is no group `EEa`; did you mean `EEA`?
        tenants/a.toml:2: `Germany` is not an ISO 3166 country code; groups in jurisdictions.toml: EEA, EU
        tenants/a.toml:2: `de` is not an ISO 3166 country code; write it in capital letters; groups in jurisdictions.toml: EEA, EU
        tenants/a.toml:2: `jurisdictions` is empty, so that nothing could ever run; write a country such as "DE", a group such as "EU", or `enabled = false`
        tenants/a.toml:2: invalid type: string "DE", expected a sequence
        tenants/a.toml:3: `models` is empty; write names of models, `["*"]`, or `enabled = false`
        tenants/a.toml:3: a model is written out by its name; only `["*"]` alone stands for every model
        tenants/a.toml:3: a model is written out by its name; only `["*"]` alone stands for every model
    "#]],
    );
}

#[test]
fn errors_about_numbers() {
    let replaced = [
        ("minute = 1", "minute = 0"),
        ("minute = 1", "minute = -1"),
        ("minute = 1", "minute = 1.5"),
        ("minute = 1", "minute = 1000001"),
        ("minute = 1", "minute = \"1\""),
        ("minute = 1", "minute = 99999999999999999999"),
        ("weight = 2", "weight = 1001"),
    ];
    check(
        &replaced,
        expect![[r#"
        tenants/a.toml:7: `requests_per_minute` must be between 1 and 1000000, got 0
        tenants/a.toml:7: `requests_per_minute` must be between 1 and 1000000, got -1
        tenants/a.toml:7: invalid type: floating point `1.5`, expected i64
        tenants/a.toml:7: `requests_per_minute` must be between 1 and 1000000, got 1000001
        tenants/a.toml:7: invalid type: string "1", expected i64
        tenants/a.toml:7: invalid type: integer `99999999999999999999` as i128, expected i64
        tenants/a.toml:4: `weight` must be between 1 and 1000, got 1001
    "#]],
    );
}

#[test]
fn errors_of_the_set() {
    let groups = ("jurisdictions.toml", GROUPS);
    let sets: [&[(&str, &str)]; 4] = [
        &[],
        &[("tenants/b.toml", TENANT), groups, ("policies/tenants/c.toml", TENANT)],
        &[groups, ("tenant/b.toml", TENANT)],
        &[groups, ("tenants/README.md", "")],
    ];
    let said = sets.iter().map(|files| shown(Policies::parse(files.iter().copied())));
    expect![[r#"
        0 tenants
        policies/tenants/c.toml:1: tenant `a` is already in tenants/b.toml:1
        tenant/b.toml:1: this file is no policy: tenants are in tenants/<name>.toml and groups of countries in jurisdictions.toml
        tenants/README.md:1: this file is no policy: tenants are in tenants/<name>.toml and groups of countries in jurisdictions.toml
    "#]].assert_eq(&said.collect::<String>());
}

#[test]
fn errors_of_groups() {
    let texts = [
        "[groups.X]\nmembers = [\"DE\"]\n",
        "[groups.X]\nsource = \" \"\nmembers = []\n",
        "[groups.X]\nsource = \"law\"\nmembers = [\n\"DE\",\n\"UK\"]\n",
        "[groups.X]\nsource = \"law\"\nmembers = [\"DE\", \"DE\"]\n",
        "[groups.DE]\nsource = \"law\"\nmembers = [\"FR\"]\n",
        "[group.X]\nsource = \"law\"\n",
    ];
    let said = texts.iter().map(|text| shown(Policies::parse([("jurisdictions.toml", text)])));
    expect![[r#"
        jurisdictions.toml:1: missing field `source`
        jurisdictions.toml:2: `source` must name the law that says who belongs to the group
        jurisdictions.toml:5: `UK` is not an ISO 3166 country code; the United Kingdom is `GB`
        jurisdictions.toml:3: `DE` is listed twice
        jurisdictions.toml:1: `DE` is a country, so no group can be named so
        jurisdictions.toml:1: unknown field `group`; did you mean `groups`?
    "#]]
    .assert_eq(&said.collect::<String>());
}

#[test]
fn the_files_of_the_repository_are_good() {
    let files = [
        ("policies/jurisdictions.toml", GROUPS),
        ("policies/tenants/development.toml", DEVELOPMENT),
    ];
    let policies = Policies::parse(files).expect("good");
    let (union, area) = (policies.group("EU").expect("EU"), policies.group("EEA").expect("EEA"));
    assert_eq!(union.len(), 28, "27 member states and the Union itself");
    let others: Vec<String> = area.difference(union).map(ToString::to_string).collect();
    assert_eq!(others, ["IS", "LI", "NO"]);
    assert!(area.is_superset(union));
    let id: TenantId = "development".parse().expect("a name");
    let tenant = policies.tenant(&id).expect("known");
    assert!(tenant.enabled && tenant.models == AllowedModels::Every);
    assert_eq!(&tenant.jurisdictions, union);
}

#[test]
fn headers() {
    let policies = parse(TENANT).expect("good");
    let longest = "DE,".repeat(64);
    let headers =
        ["DE", " FR ,\tDE", "EEA,CH", "", "DE,", "de", "DE;FR", "ASIA", "DE,\u{0}", &longest];
    let said = headers.iter().map(|header| match policies.narrowing(header) {
        Ok(narrowing) => format!("{}\n", listed(narrowing.jurisdictions())),
        Err(error) => format!("{error}\n"),
    });
    expect![[r#"
        DE
        DE, FR
        AT, BE, BG, CH, CY, CZ, DE, DK, EE, ES, EU, FI, FR, GR, HR, HU, IE, IS, IT, LI, LT, LU, LV, MT, NL, NO, PL, PT, RO, SE, SI, SK
        an item is empty; give country codes or groups with commas between them, for example `DE,FR`
        an item is empty; give country codes or groups with commas between them, for example `DE,FR`
        `de` is not an ISO 3166 country code; write it in capital letters and no group (there are EEA, EU); give country codes or groups with commas between them, for example `DE,FR`
        `DE;FR` is not an ISO 3166 country code and no group (there are EEA, EU); give country codes or groups with commas between them, for example `DE,FR`
        `ASIA` is not an ISO 3166 country code and no group (there are EEA, EU); give country codes or groups with commas between them, for example `DE,FR`
        `\0` is not an ISO 3166 country code and no group (there are EEA, EU); give country codes or groups with commas between them, for example `DE,FR`
        there are more than 64 items; give country codes or groups with commas between them, for example `DE,FR`
    "#]].assert_eq(&said.collect::<String>());
}

#[test]
fn the_digest_follows_the_meaning() {
    let digest = |tenant: &str| parse(tenant).expect("good").digest();
    let base = digest(TENANT);
    let commented = format!("# a comment\n{}", TENANT.replace("[\"DE\"]", "[ \"DE\", \"DE\" ]"));
    assert_eq!(digest(&commented), base);
    assert_eq!(digest(&TENANT.replace("weight", "enabled = true\nweight")), base);
    let renamed = [("tenants/z.toml", TENANT), ("x/jurisdictions.toml", GROUPS)];
    assert_eq!(Policies::parse(renamed).expect("good").digest(), base);

    let mut seen = std::collections::BTreeSet::from([base]);
    for (from, to) in [
        ("\"a\"", "\"b\""),
        ("[\"DE\"]", "[\"DE\", \"FR\"]"),
        ("[\"DE\"]", "[\"FR\"]"),
        ("[\"*\"]", "[\"m\"]"),
        ("[\"*\"]", "[\"m\", \"n\"]"),
        ("weight = 2", "weight = 3"),
        ("weight = 2", "weight = 2\nenabled = false"),
        ("minute = 1", "minute = 5"),
        ("requests_max = 2", "requests_max = 5"),
        ("output_tokens_max = 3", "output_tokens_max = 5"),
        ("prompt_tokens_max = 4", "prompt_tokens_max = 5"),
    ] {
        assert!(seen.insert(digest(&TENANT.replacen(from, to, 1))), "{from} -> {to}");
    }
    let groups = GROUPS.replace("\"SK\",", "");
    let smaller = Policies::parse([("jurisdictions.toml", &*groups), ("tenants/a.toml", TENANT)]);
    assert!(seen.insert(smaller.expect("good").digest()));
    // a known value: it changes only with the meaning or with `RULES_VERSION`
    let alone = Policies::parse([("tenants/a.toml", TENANT)]).expect("good");
    expect!["a81c5eda02b0f327af0325a922e401fe1627828a5ab279bc7474c146a38490bf"]
        .assert_eq(&alone.digest().to_string());
}
