//! Links between the repository's Markdown files.

use std::path::{Path, PathBuf};

use crate::source::Source;

/// Complaints about relative links that lead nowhere. What lies behind `http` is not asked.
pub fn check(root: &Path, file: &Source) -> Vec<String> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = Path::new(&file.path).parent().map(PathBuf::from).unwrap_or_default();
    let targets = targets(&file.text).into_iter().filter(|target| !leads_out(target));
    let paths = targets.filter_map(|target| {
        let path = target.split('#').next().unwrap_or_default();
        (!path.is_empty()).then(|| folder.join(path))
    });
    paths
        .filter(|path| !root.join(path).exists())
        .map(|path| format!("{}: links to {}, which is not there", file.path, path.display()))
        .collect()
}

fn leads_out(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

/// What `[text](target)` and `[name]: target` lead to, outside of code.
fn targets(markdown: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code {
            continue;
        }
        // every second part of a line that is split at backticks is code
        let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.extend(inline.map(|target| first_word(target).to_string()));
        let named = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        targets.extend(named.map(|(_, target)| first_word(target).to_string()));
    }
    targets
}

/// A title may follow the target.
fn first_word(target: &str) -> &str {
    target.split_whitespace().next().unwrap_or_default()
}
