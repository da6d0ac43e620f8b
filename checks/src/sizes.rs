//! How long files and functions are.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::Source;

/// The longest function, in lines, from its `fn` to its last brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// The longest file, in lines.
pub const FILE_LINES_MAX: usize = 500;

/// Complaints about one file. Other languages' files may be as long.
pub fn check(file: &Source) -> Vec<String> {
    if file.is_generated() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let lines = file.text.lines().count();
    let is_code = [".rs", ".py", ".mjs", ".js"].iter().any(|end| file.path.ends_with(end));
    if is_code && lines > FILE_LINES_MAX {
        complaints.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", file.path));
    }
    if !file.is_rust() {
        return complaints;
    }
    let tree = match syn::parse_file(&file.text) {
        Ok(tree) => tree,
        Err(error) => return vec![format!("{}: cannot be parsed: {error}", file.path)],
    };
    let mut functions = Functions { path: &file.path, complaints };
    functions.visit_file(&tree);
    functions.complaints
}

struct Functions<'a> {
    path: &'a str,
    complaints: Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, end: Span) {
        let start = signature.span().start().line;
        let lines = end.end().line - start + 1;
        if lines > FUNCTION_LINES_MAX {
            let (path, name) = (self.path, &signature.ident);
            let complaint =
                format!("{path}:{start}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            self.complaints.push(complaint);
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, function.block.brace_token.span.close());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, function.block.brace_token.span.close());
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block.brace_token.span.close());
        }
        visit::visit_trait_item_fn(self, function);
    }
}
