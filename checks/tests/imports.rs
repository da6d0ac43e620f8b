//! Who may import whom.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};
use checks::imports::{Edge, check_edges, check_versions, edges, versions};
use checks::source;

fn metadata() -> Metadata {
    // of one platform, so that crates of others need not be fetched
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    MetadataCommand::new()
        .manifest_path(source::root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(options.map(String::from))
        .exec()
        .unwrap()
}

fn members(metadata: &Metadata) -> BTreeSet<String> {
    metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect()
}

#[test]
fn the_crates_import_only_what_they_may() {
    let metadata = metadata();
    let edges = edges(&metadata);
    assert!(edges.iter().any(|edge| edge.from == "gateway" && edge.to == "policy"), "{edges:?}");
    let complaints = check_edges(&members(&metadata), &edges);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_tree_holds_one_version_and_one_provider() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--all-features", "--locked", "--prefix", "none"])
        .args(["--edges", "normal,build,dev", "--format", "{p}"])
        .current_dir(source::root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let versions = versions(&String::from_utf8(tree.stdout).unwrap());
    assert!(versions["rustls"].first().unwrap().starts_with("v0.23."), "{versions:?}");
    let complaints = check_versions(&versions);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn every_kind_of_bad_import_is_found() {
    let members = members(&metadata());
    let edge = |from: &str, to: &str| Edge {
        from: from.into(),
        to: to.into(),
        for_tests: false,
        optional: false,
    };
    let for_tests = |from, to| Edge { for_tests: true, ..edge(from, to) };
    let complaint = |edge: Edge| check_edges(&members, &[edge]).join(", ");
    for (edge, expected) in [
        (edge("policy", "audit"), "policy must not import audit"),
        (edge("engine-api", "engine-text"), "engine-api must not import engine-text"),
        (edge("engine-worker", "engine-fleet"), "engine-worker must not import engine-fleet"),
        (edge("loadtest", "engine-api"), "loadtest must not import engine-api"),
        (edge("gateway", "engine-tiny"), "gateway may use engine-tiny in tests only"),
        (for_tests("gateway", "engine-tiny"), ""),
        (for_tests("audit", "policy"), ""),
        (edge("policy", "serde"), ""),
    ] {
        assert_eq!(complaint(edge), expected);
    }
    assert!(complaint(edge("gateway", "candle-nn")).contains("must not see candle-nn"));
    assert!(complaint(for_tests("engine-fleet", "candle-core")).contains("must not see"));
    assert!(complaint(edge("gateway", "engine-worker")).contains("`embedded`"));
    let embedded = Edge { optional: true, ..edge("gateway", "engine-worker") };
    assert_eq!(complaint(embedded), "");
    let unknown = check_edges(&BTreeSet::from(["engine-new".to_string()]), &[]);
    assert_eq!(unknown, ["engine-new has no line in checks/src/imports.rs"]);
}

#[test]
fn a_second_version_and_a_banned_crate_are_found() {
    let complaints = |tree: &str| check_versions(&versions(tree));
    assert!(complaints("rustls v0.23.46\nsyn v2.0.1\nsyn v3.0.1 (proc-macro)\n").is_empty());
    let twice = complaints("rustls v0.23.46\nrustls v0.24.0 (*)\nrustls v0.23.46 (*)\n");
    assert_eq!(twice, [r#"rustls is there twice: {"v0.23.46", "v0.24.0"}"#]);
    assert_eq!(complaints("ring v0.17.14\n"), ["ring must not be in the tree"]);
}
