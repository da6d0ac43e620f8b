//! Who may import whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package};

/// Each of our crates with those of ours that it may depend on, build dependencies included.
/// Tests may use more.
pub const ALLOWED: [(&str, &[&str]); 15] = [
    ("audit", &[]),
    ("policy", &[]),
    ("engine-api", &[]),
    ("engine-text", &[]),
    ("engine-kernels", &[]),
    ("engine-tiny", &[]),
    ("engine-chat", &["engine-api", "engine-text"]),
    ("engine-wire", &["engine-api"]),
    ("engine-worker", &["engine-api", "engine-kernels", "engine-text", "engine-wire"]),
    ("engine-fleet", &["engine-api", "engine-chat", "engine-text", "engine-wire"]),
    ("engine-fuzzing", &["engine-api", "engine-chat", "engine-text", "engine-wire"]),
    ("engine", &["engine-worker"]),
    ("gateway", &["audit", "engine-api", "engine-fleet", "engine-worker", "policy"]),
    ("loadtest", &[]),
    ("checks", &[]),
];

/// The only crates that see candle, in any of its crates and even in tests.
pub const SEES_CANDLE: [&str; 2] = ["engine-kernels", "engine-worker"];

/// Crates that only tests may depend on.
pub const FOR_TESTS: [&str; 1] = ["engine-tiny"];

/// Crates that must not be in the tree at all.
pub const BANNED: [&str; 4] = ["ring", "openssl-sys", "onig_sys", "native-tls"];

/// Crates of which there is one version: types of two versions do not fit together, or a
/// second copy is a second provider.
pub const SINGLE: [&str; 12] = [
    "aws-lc-rs",
    "axum",
    "candle-core",
    "h2",
    "hyper",
    "llguidance",
    "prost",
    "rustls",
    "rustls-webpki",
    "tokenizers",
    "tokio-rustls",
    "tonic",
];

/// One dependency of one of our crates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Ours.
    pub from: String,
    /// Anyone's.
    pub to: String,
    /// Only tests use it.
    pub for_tests: bool,
    /// Only with a feature.
    pub optional: bool,
}

/// The dependencies that our crates declare.
pub fn edges(metadata: &Metadata) -> Vec<Edge> {
    let declared = |package: &Package| {
        let from = package.name.to_string();
        package.dependencies.clone().into_iter().map(move |dependency| Edge {
            from: from.clone(),
            to: dependency.name,
            for_tests: dependency.kind == DependencyKind::Development,
            optional: dependency.optional,
        })
    };
    metadata.workspace_packages().into_iter().flat_map(declared).collect()
}

/// Every crate that is compiled, with its versions, from the lines of `cargo tree --prefix none`.
/// Neither the lock file nor `cargo metadata` will do: both name crates for features that
/// nobody turns on.
pub fn versions(tree: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.into()).or_default().insert(version.into());
        }
    }
    versions
}

/// Complaints about dependencies between crates.
pub fn check_edges(members: &BTreeSet<String>, edges: &[Edge]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let unknown = members.iter().filter(|member| !allowed.contains_key(member.as_str()));
    let mut complaints: Vec<String> =
        unknown.map(|member| format!("{member} has no line in checks/src/imports.rs")).collect();
    for edge in edges {
        let Edge { from, to, .. } = edge;
        if to.starts_with("candle") && !SEES_CANDLE.contains(&from.as_str()) {
            complaints.push(format!("{from} must not see {to}: only {SEES_CANDLE:?} do"));
        }
        if edge.for_tests || !members.contains(to) {
            continue;
        }
        if FOR_TESTS.contains(&to.as_str()) {
            complaints.push(format!("{from} may use {to} in tests only"));
        } else if allowed.get(from.as_str()).is_some_and(|list| !list.contains(&to.as_str())) {
            complaints.push(format!("{from} must not import {to}"));
        }
        if (from.as_str(), to.as_str()) == ("gateway", "engine-worker") && !edge.optional {
            complaints.push("gateway may import engine-worker with feature `embedded` only".into());
        }
    }
    complaints
}

/// Complaints about what is in the tree.
pub fn check_versions(versions: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let banned = BANNED.iter().filter(|name| versions.contains_key(**name));
    let mut complaints: Vec<String> =
        banned.map(|name| format!("{name} must not be in the tree")).collect();
    for name in SINGLE {
        let several = versions.get(name).filter(|versions| versions.len() > 1);
        complaints.extend(several.map(|versions| format!("{name} is there twice: {versions:?}")));
    }
    complaints
}
