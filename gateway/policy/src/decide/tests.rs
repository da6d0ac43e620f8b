use expect_test::{Expect, expect};

use super::*;
use crate::ZoneId;

fn policies() -> Policies {
    let groups = r#"
        [groups.EU]
        source = "a treaty"
        members = ["EU", "DE", "FR", "NL"]
        [groups.EEA]
        source = "an agreement"
        members = ["EU", "DE", "FR", "NL", "NO"]
    "#;
    let tenant = |name: &str, jurisdictions: &str, more: &str| {
        let text = format!(
            "tenant = \"{name}\"\njurisdictions = {jurisdictions}\n{more}\n[limits]\n\
             requests_per_minute = 60\nconcurrent_requests_max = 4\n\
             output_tokens_max = 100\nprompt_tokens_max = 1000\n"
        );
        (format!("tenants/{name}.toml"), text)
    };
    let files = [
        ("jurisdictions.toml".into(), groups.into()),
        tenant("union", r#"["EU"]"#, r#"models = ["*"]"#),
        tenant("german", r#"["DE"]"#, r#"models = ["small", "large"]"#),
        tenant("mixed", r#"["EU", "CH"]"#, "models = [\"*\"]\nweight = 7"),
        tenant("closed", r#"["EU"]"#, "models = [\"*\"]\nenabled = false"),
    ];
    Policies::parse(files).expect("the test's policies are good")
}

/// Facts in one line: `tenant model [zone ...] max_tokens header`, where `-` is nothing.
fn facts(policies: &Policies, line: &str) -> Facts {
    let (before, rest) = line.split_once('[').expect("zones are between brackets");
    let (zones, after) = rest.split_once(']').expect("zones are between brackets");
    let [tenant, model] = before.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let [max_tokens, header] = after.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let candidate = |zone: &str| Candidate {
        zone: ZoneId::new(zone),
        jurisdiction: zone[..2].to_uppercase().parse().expect("zones begin with their country"),
    };
    Facts {
        tenant: tenant.parse().expect("a tenant's name"),
        model: model.into(),
        candidates: zones.split_whitespace().map(candidate).collect(),
        narrowed: (header != "-").then(|| policies.narrowing(header).expect("a good header")),
        max_tokens: (max_tokens != "-").then(|| max_tokens.parse().expect("a number")),
    }
}

fn shown(line: &str) -> String {
    let policies = policies();
    match decide(&policies, &facts(&policies, line)) {
        Decision::Permit(permit) => {
            assert_eq!(permit.policies_digest(), policies.digest());
            format!(
                "{} may use {} for {} tokens, weight {}, by {}\n",
                permit.tenant(),
                listed(permit.zones().iter().map(|one| &one.zone)),
                permit.output_tokens_max(),
                permit.weight(),
                listed(permit.rules()),
            )
        }
        Decision::Deny(deny) => {
            assert_eq!(deny.policies, policies.digest());
            format!("{}: {deny}\n", deny.reason.code())
        }
    }
}

/// What is said to each line of facts, in order.
fn check(lines: &[&str], expected: Expect) {
    expected.assert_eq(&lines.iter().map(|line| shown(line)).collect::<String>());
}

#[test]
fn permits_name_zones_and_rules() {
    let lines = [
        "union small [de-1 fr-1 us-1] - -",
        "union small [eu-1 us-1] 100 -",
        "german small [fr-1 de-2 de-1] 7 -",
        "german large [de-1] 1 EU",
        "mixed other [ch-1 us-1 nl-1] - CH,US",
        "union small [de-1 no-1] - EEA",
    ];
    check(
        &lines,
        expect![[r#"
        union may use de-1, fr-1 for 100 tokens, weight 1, by tenant-known, tenant-enabled, model-allowed, output-limit, residency
        union may use eu-1 for 100 tokens, weight 1, by tenant-known, tenant-enabled, model-allowed, output-limit, residency
        german may use de-2, de-1 for 7 tokens, weight 1, by tenant-known, tenant-enabled, model-allowed, output-limit, residency
        german may use de-1 for 1 tokens, weight 1, by tenant-known, tenant-enabled, model-allowed, output-limit, narrowing, residency
        mixed may use ch-1 for 100 tokens, weight 7, by tenant-known, tenant-enabled, model-allowed, output-limit, narrowing, residency
        union may use de-1 for 100 tokens, weight 1, by tenant-known, tenant-enabled, model-allowed, output-limit, narrowing, residency
    "#]],
    );
}

#[test]
fn every_deny_reason() {
    let lines = [
        "nobody small [de-1] - -",
        "closed small [de-1] - -",
        "german other [de-1] - -",
        "german small [de-1] 101 -",
        "german small [fr-1] - -",
        "german small [eu-1] - -",
        "german small [] - -",
        "german small [de-1 fr-1] - FR",
        "union small [de-1 fr-1] - NL",
        "mixed small [us-1 no-1] - EEA",
        // everything is wrong with this one: the first rule that fails denies
        "closed other [us-1] 101 US",
    ];
    check(
        &lines,
        expect![[r#"
        unknown_tenant: tenant `nobody` has no policy (rule `tenant-known`)
        tenant_disabled: tenant `closed` is disabled (rule `tenant-enabled`)
        model_not_allowed: tenant `german` may not use model `other` (rule `model-allowed`)
        output_too_long: the request asks for 101 output tokens, but the tenant may have 100 (rule `output-limit`)
        residency_violation: model `small` runs in no permitted jurisdiction: permitted DE, available fr-1 (FR) (rule `residency`)
        residency_violation: model `small` runs in no permitted jurisdiction: permitted DE, available eu-1 (EU) (rule `residency`)
        residency_violation: model `small` runs in no permitted jurisdiction: permitted DE, available none (rule `residency`)
        residency_violation: the request is narrowed to FR, but the tenant allows only DE (rule `narrowing`)
        residency_violation: model `small` runs in no permitted jurisdiction: permitted NL, available de-1 (DE), fr-1 (FR) (rule `residency`)
        residency_violation: model `small` runs in no permitted jurisdiction: permitted DE, EU, FR, NL, available us-1 (US), no-1 (NO) (rule `residency`)
        tenant_disabled: tenant `closed` is disabled (rule `tenant-enabled`)
    "#]],
    );
}

#[test]
fn a_prompt_is_admitted_up_to_the_limit() {
    let policies = policies();
    let Decision::Permit(mut permit) = decide(&policies, &facts(&policies, "union m [de-1] - -"))
    else {
        panic!("this is permitted");
    };
    assert_eq!(permit.admit_prompt(1000), Ok(()));
    assert_eq!(permit.admit_prompt(1000), Ok(()));
    assert_eq!(permit.rules().iter().filter(|rule| **rule == RuleId::PROMPT_LIMIT).count(), 1);
    let deny = permit.admit_prompt(1001).expect_err("one too many");
    expect!["prompt_too_long: the prompt has 1001 tokens, but the tenant may send 1000 (rule `prompt-limit`)"].assert_eq(&format!("{}: {deny}", deny.reason.code()));
}
