//! What may lie in the repository.

use std::path::Path;

use checks::source::{self, Source};
use checks::{links, repository};

fn all(check: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let files = source::files(&source::root());
    assert!(files.len() > 50, "only {} files were found", files.len());
    files.iter().flat_map(check).collect()
}

#[test]
fn no_private_key_is_in_the_repository() {
    let complaints = all(repository::check_keys);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let complaints = all(repository::check_unsafe);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn every_crate_takes_the_lints() {
    let complaints = all(repository::check_manifest);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn nothing_is_left_to_come_back_to() {
    let complaints = all(repository::check_reminders);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn links_lead_somewhere() {
    let complaints = all(|file| links::check(&source::root(), file));
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_private_key_is_found() {
    let key = |label: &str, body: &str| {
        let text = format!("text\n-----BEGIN {label}-----\n{body}\n");
        repository::check_keys(&Source::new("tls/a.pem", &text))
    };
    let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        assert_eq!(key(label, body), ["tls/a.pem:2: holds a private key"]);
    }
    assert!(key("CERTIFICATE", body).is_empty());
    assert!(key("PRIVATE KEY", "...").is_empty());
}

#[test]
fn unsafe_is_found_outside_its_place_and_without_an_argument() {
    let complaints = |path, text| repository::check_unsafe(&Source::new(path, text)).join(", ");
    let bare = "fn f() {\n    unsafe { g() }\n}\n";
    let argued = "fn f() {\n    // SAFETY: g has no conditions\n    unsafe { g() }\n}\n";
    assert_eq!(
        complaints("gateway/src/a.rs", argued),
        "gateway/src/a.rs:3: unsafe must not stand here"
    );
    assert_eq!(complaints("engine/kernels/src/a.rs", argued), "");
    assert!(complaints("engine/kernels/src/a.rs", bare).contains("without a SAFETY comment"));
    let in_macro = "macro_rules! m { () => { unsafe { g() } } }";
    assert!(complaints("gateway/src/a.rs", in_macro).contains(":1: unsafe"));
    assert_eq!(complaints("gateway/src/a.rs", "// unsafe\nconst A: &str = \"unsafe\";"), "");
    assert_eq!(complaints("gateway/src/a.rs", "#![forbid(unsafe_code)]"), "");
}

#[test]
fn a_crate_without_the_lints_is_found() {
    let complaints = |text: &str| repository::check_manifest(&Source::new("a/Cargo.toml", text));
    assert!(complaints("[package]\nname = \"a\"\n[lints]\nworkspace = true\n").is_empty());
    assert_eq!(complaints("[package]\n"), ["a/Cargo.toml: lacks `lints.workspace = true`"]);
    let root =
        |level: &str| format!("[workspace]\n[workspace.lints.rust]\nunsafe_code = \"{level}\"");
    assert!(complaints(&root("deny")).is_empty());
    assert_eq!(complaints(&root("warn")), ["a/Cargo.toml: does not deny unsafe_code"]);
}

#[test]
fn a_reminder_is_found() {
    for word in [["TO", "DO"].concat(), ["FIX", "ME"].concat()] {
        let file = Source::new("a.rs", &format!("// a\n// {word}: later\n"));
        assert_eq!(repository::check_reminders(&file), [format!("a.rs:2: // {word}: later")]);
    }
    assert!(repository::check_reminders(&Source::new("a.rs", "todo = \"warn\"")).is_empty());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let root = source::root();
    let complaints = |text: &str| links::check(Path::new(&root), &Source::new("docs/a.md", text));
    let good =
        "[a](../Cargo.toml) [b](https://example.org) [c](#part) `[d](e)`\n```\n[f](g)\n```\n";
    assert!(complaints(good).is_empty(), "{:?}", complaints(good));
    assert_eq!(complaints("[a](b.md#part)"), ["docs/a.md: links to docs/b.md, which is not there"]);
    assert_eq!(complaints("[a]: b.md \"title\"").len(), 1);
}
