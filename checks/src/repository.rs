//! What may lie in the repository, and where.

use std::str::FromStr;

use proc_macro2::{TokenStream, TokenTree};

use crate::source::Source;

/// Where `unsafe` may stand: kernels and what measures them, and the one module that maps files into
/// memory.
pub const UNSAFE_ALLOWED: [&str; 3] =
    ["engine/kernels/src/", "engine/kernels/benches/", "engine/worker/src/model/file.rs"];

/// Complaints about key material: a private key in a repository is public.
pub fn check_keys(file: &Source) -> Vec<String> {
    let begin = ["-----BEGIN", ""].join(" ");
    let mut lines = file.text.lines().enumerate().peekable();
    let mut complaints = Vec::new();
    while let Some((number, line)) = lines.next() {
        let Some((_, label)) = line.split_once(&begin) else { continue };
        let body = lines.peek().map(|(_, next)| next.trim()).unwrap_or_default();
        // documentation may show the first line; a key has a body
        if label.contains("PRIVATE KEY") && is_base64(body) {
            complaints.push(format!("{}:{}: holds a private key", file.path, number + 1));
        }
    }
    complaints
}

fn is_base64(line: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\\n\"".contains(&byte);
    line.len() >= 40 && line.bytes().all(letter)
}

/// Complaints about what somebody meant to come back to.
pub fn check_reminders(file: &Source) -> Vec<String> {
    let reminders = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["X", "XX"].concat()];
    let is_word = |text: &str, word: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word)
    };
    let numbered = file.text.lines().enumerate();
    let left = numbered.filter(|(_, line)| reminders.iter().any(|word| is_word(line, word)));
    left.map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim())).collect()
}

/// Complaints about `unsafe` where it may not stand, or without its argument.
pub fn check_unsafe(file: &Source) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let Ok(tokens) = TokenStream::from_str(&file.text) else {
        return vec![format!("{}: cannot be read as Rust", file.path)];
    };
    let mut lines = Vec::new();
    find_unsafe(tokens, &mut lines);
    let may = UNSAFE_ALLOWED.iter().any(|place| file.path.starts_with(place));
    let bad = lines.into_iter().filter(|line| !(may && is_argued(&file.text, *line)));
    bad.map(|line| match may {
        false => format!("{}:{line}: unsafe must not stand here", file.path),
        true => format!("{}:{line}: unsafe without a SAFETY comment above it", file.path),
    })
    .collect()
}

/// The lines of every `unsafe`, inside macros too; comments and strings do not count.
fn find_unsafe(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) if name == "unsafe" => lines.push(name.span().start().line),
            TokenTree::Group(group) => find_unsafe(group.stream(), lines),
            _ => {}
        }
    }
}

/// Whether the comment above a line, or in it, argues why it is sound. Between the two may be
/// attributes, and the beginning of a statement that spans lines.
fn is_argued(text: &str, line: usize) -> bool {
    const LINES_ABOVE: usize = 12;
    let before: Vec<&str> = text.lines().take(line).collect();
    let near = before.iter().rev().take(LINES_ABOVE);
    near.into_iter().any(|line| line.contains("SAFETY") || line.contains("# Safety"))
}

/// Complaints about a crate whose manifest does not take the workspace's lints, which deny
/// `unsafe`, or about a workspace that does not deny it.
pub fn check_manifest(file: &Source) -> Vec<String> {
    if !file.path.ends_with("Cargo.toml") {
        return Vec::new();
    }
    let manifest: toml::Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{}: {error}", file.path)],
    };
    let lookup = |path: &[&str]| {
        let first = manifest.get(path[0]);
        path[1..].iter().try_fold(first?, |value, key| value.get(key))
    };
    let is_root = manifest.contains_key("workspace");
    let denies = ["deny", "forbid"].contains(
        &lookup(&["workspace", "lints", "rust", "unsafe_code"])
            .and_then(toml::Value::as_str)
            .unwrap_or_default(),
    );
    let inherits =
        lookup(&["lints", "workspace"]).and_then(toml::Value::as_bool).unwrap_or_default();
    match (is_root, denies, inherits) {
        (true, false, _) => vec![format!("{}: does not deny unsafe_code", file.path)],
        (false, _, false) => vec![format!("{}: lacks `lints.workspace = true`", file.path)],
        _ => Vec::new(),
    }
}
