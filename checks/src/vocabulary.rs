//! Names that say nothing.

use syn::visit::{self, Visit};

use crate::source::Source;

/// Words that no file, folder or module has as any part of its name.
pub const NEVER: [&str; 9] =
    ["common", "helper", "helpers", "manager", "managers", "misc", "util", "utilities", "utils"];

/// Words that say nothing alone, though they may with another (`data_dir`).
pub const NOT_ALONE: [&str; 3] = ["data", "info", "process"];

/// Complaints about the names in a Rust file and of it. `mod.rs` is among them: `foo.rs` beside
/// `foo/` can be told from its neighbours in an editor.
pub fn check(file: &Source) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    if file.path.ends_with("/mod.rs") && !file.path.contains("/tests/") {
        complaints.push(format!("{}: is named mod.rs", file.path));
    }
    let names = file.path.trim_end_matches(".rs").split('/');
    let bad = names.filter_map(not_used);
    complaints.extend(bad.map(|word| format!("{}: has `{word}` in its path", file.path)));
    if let Ok(tree) = syn::parse_file(&file.text) {
        let mut modules = Modules { path: &file.path, complaints };
        modules.visit_file(&tree);
        complaints = modules.complaints;
    }
    complaints
}

fn not_used(name: &str) -> Option<&'static str> {
    let is_part = |word: &&str| name.split(['_', '-']).any(|part| part == *word);
    let alone = NOT_ALONE.into_iter().find(|word| name == *word);
    NEVER.into_iter().find(is_part).or(alone)
}

struct Modules<'a> {
    path: &'a str,
    complaints: Vec<String>,
}

impl<'ast> Visit<'ast> for Modules<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if let Some(word) = not_used(&module.ident.to_string()) {
            let complaint = format!("{}: module `{}` has `{word}` in it", self.path, module.ident);
            self.complaints.push(complaint);
        }
        visit::visit_item_mod(self, module);
    }
}
