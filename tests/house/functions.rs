//! How long functions are, and what they match on.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::modules::is_test;

/// A function, and how many of its lines are neither blank nor a comment.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: usize,
}

struct Reader<'a> {
    text: Vec<&'a str>,
    found: Vec<Function>,
}

impl Reader<'_> {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = &self.text[signature.span().start().line - 1..body.span().end().line];
        let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        self.found.push(Function { name: signature.ident.to_string(), lines: lines.iter().filter(is_code).count() });
    }
}

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

/// All functions of a source file that are shipped.
pub(crate) fn functions(text: &str) -> Vec<Function> {
    let mut reader = Reader { text: text.lines().collect(), found: Vec::new() };
    reader.visit_file(&syn::parse_file(text).unwrap());
    reader.found
}

/// Whether a pattern in the shipped part of a source file names a variant of `kind`.
pub(crate) fn matches_on(kind: &str, text: &str) -> bool {
    let mut patterns = Patterns { kind, found: false };
    patterns.visit_file(&syn::parse_file(text).unwrap());
    patterns.found
}

struct Patterns<'a> {
    kind: &'a str,
    found: bool,
}

impl<'a> Visit<'a> for Patterns<'_> {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_pat(&mut self, pattern: &'a syn::Pat) {
        let path = match pattern {
            syn::Pat::Path(pattern) => Some(&pattern.path),
            syn::Pat::Struct(pattern) => Some(&pattern.path),
            syn::Pat::TupleStruct(pattern) => Some(&pattern.path),
            _ => None,
        };
        self.found |= path.is_some_and(|path| path.segments.iter().any(|segment| segment.ident == self.kind));
        visit::visit_pat(self, pattern);
    }
}
