//! What must hold for any policies, topology and header.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::ZoneId;

const COUNTRIES: [&str; 8] = ["AT", "CH", "DE", "EU", "FR", "NL", "NO", "US"];
const ITEMS: [&str; 10] = ["AT", "CH", "DE", "EU", "EEA", "FR", "NL", "NO", "US", "GB"];
const GROUPS: &str = include_str!("../../../../policies/jurisdictions.toml");

fn policies(jurisdictions: &[&str], models: &[&str]) -> Policies {
    let text = format!(
        "tenant = \"t\"\njurisdictions = {jurisdictions:?}\nmodels = {models:?}\n[limits]\n\
         requests_per_minute = 1\nconcurrent_requests_max = 1\noutput_tokens_max = 50\n\
         prompt_tokens_max = 1\n"
    );
    let files = [("jurisdictions.toml", GROUPS.to_owned()), ("tenants/t.toml", text)];
    Policies::parse(files).expect("generated policies are good")
}

fn zones(decision: &Decision) -> BTreeSet<Candidate> {
    match decision {
        Decision::Permit(permit) => permit.zones().iter().cloned().collect(),
        Decision::Deny(_) => BTreeSet::new(),
    }
}

prop_compose! {
    fn candidates()(countries in proptest::collection::vec(select(&COUNTRIES[..]), 0..8))
        -> Vec<Candidate>
    {
        let zone = |(place, country): (usize, &&str)| Candidate {
            zone: ZoneId::new(format!("zone-{place}")),
            jurisdiction: country.parse().expect("a country"),
        };
        countries.iter().enumerate().map(zone).collect()
    }
}

fn items() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(ITEMS.to_vec(), 1..=ITEMS.len())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// The zones of a permit are exactly those in the tenant's jurisdictions and in the
    /// header's, and there is a permit whenever there is such a zone.
    #[test]
    fn a_permitted_zone_is_always_in_the_tenants_jurisdictions(
        jurisdictions in items(),
        header in proptest::option::of(items()),
        candidates in candidates(),
        max_tokens in proptest::option::of(1..=50_u32),
    ) {
        let policies = policies(&jurisdictions, &["*"]);
        let header = header.map(|items| items.join(", "));
        let narrowed = header.as_deref().map(|header| policies.narrowing(header).expect("good"));
        let tenant = "t".parse().expect("a name");
        let facts = Facts { tenant, model: "m".into(), candidates, narrowed, max_tokens };

        let allowed = &policies.tenant(&facts.tenant).expect("known").jurisdictions;
        let inside = |candidate: &&Candidate| {
            let narrowed = facts.narrowed.as_ref().map(|one| one.jurisdictions());
            allowed.contains(&candidate.jurisdiction)
                && narrowed.is_none_or(|one| one.contains(&candidate.jurisdiction))
        };
        let expected: BTreeSet<_> = facts.candidates.iter().filter(inside).cloned().collect();
        let decision = decide(&policies, &facts);
        prop_assert_eq!(&zones(&decision), &expected);
        match decision {
            Decision::Permit(permit) => prop_assert!(!permit.zones().is_empty()),
            Decision::Deny(deny) => prop_assert_eq!(deny.reason.code(), "residency_violation"),
        }
    }

    /// Whatever the header says, it adds no zone.
    #[test]
    fn a_header_only_narrows(
        jurisdictions in items(), header in items(), candidates in candidates(),
    ) {
        let policies = policies(&jurisdictions, &["*"]);
        let tenant = "t".parse().expect("a name");
        let mut facts =
            Facts { tenant, model: "m".into(), candidates, narrowed: None, max_tokens: None };
        let without = zones(&decide(&policies, &facts));
        facts.narrowed = Some(policies.narrowing(&header.join(",")).expect("good"));
        let with = zones(&decide(&policies, &facts));
        prop_assert!(with.is_subset(&without), "{with:?} is not in {without:?}");
    }

    /// A header of any text is read or refused, and what is read is never empty.
    #[test]
    fn any_header_is_read_or_refused(header in ".{0,80}") {
        let policies = policies(&["DE"], &["*"]);
        if let Ok(narrowing) = policies.narrowing(&header) {
            prop_assert!(!narrowing.jurisdictions().is_empty());
        }
    }

    /// Neither does any text of a policy file bring the parser down.
    #[test]
    fn any_file_is_read_or_refused(text in "[a-z_=\\[\\]\"{},. \n0-9]{0,200}") {
        let files = [("jurisdictions.toml", GROUPS), ("tenants/t.toml", text.as_str())];
        if let Err(error) = Policies::parse(files) {
            prop_assert_eq!(&*error.file, "tenants/t.toml");
            prop_assert!(error.line >= 1 && error.line <= 1 + text.matches('\n').count());
        }
    }

    /// Who may not use a model may not use it anywhere.
    #[test]
    fn a_model_outside_the_list_is_never_permitted(
        models in subsequence(vec!["a", "b", "c"], 1..=3), candidates in candidates(),
    ) {
        let policies = policies(&["EU", "EEA", "US"], &models);
        for model in ["a", "b", "c", "d", "*", ""] {
            let tenant = "t".parse().expect("a name");
            let candidates = candidates.clone();
            let facts =
                Facts { tenant, model: model.into(), candidates, narrowed: None, max_tokens: None };
            let permitted = matches!(decide(&policies, &facts), Decision::Permit(_));
            prop_assert!(!permitted || models.contains(&model));
        }
    }
}
