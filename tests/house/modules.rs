//! Which source file names items of which other one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Item, UseTree};

use crate::shipped_sources;

/// `["domain", "check"]` for `src/domain/check/mod.rs` and for `src/domain/check.rs`.
type Module = Vec<String>;

/// A file as a module: what it defines or brings into scope, and what it names.
#[derive(Default)]
struct Source {
    /// Name in scope to the absolute path it stands for.
    imports: BTreeMap<String, Module>,
    /// Absolute paths that stand in its code.
    paths: BTreeSet<Module>,
    /// Modules everything of which it passes on.
    globs: Vec<Module>,
    /// Names of what it defines.
    items: BTreeSet<String>,
}

/// Whether something is compiled for tests only.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

struct Reader<'a> {
    module: &'a Module,
    children: &'a BTreeSet<String>,
    source: Source,
    /// What is passed on to others, by its name.
    passed_on: BTreeMap<String, Module>,
    /// Names with which paths begin.
    used: BTreeSet<String>,
}

impl Reader<'_> {
    /// The absolute form of a path within this crate; `None` for one that begins elsewhere.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let mut rest = path;
        let mut absolute = match rest.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            first if self.children.contains(first) => self.module.clone(),
            _ => return None,
        };
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => _ = absolute.pop(),
                _ => break,
            }
            rest = &rest[1..];
        }
        absolute.extend_from_slice(rest);
        Some(absolute)
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => self.source.paths.extend(self.absolute(before)),
            UseTree::Name(name) if name.ident == "self" => self.bind(&before.last().unwrap().clone(), before),
            UseTree::Name(name) => self.bind(&name.ident.to_string(), &with(name.ident.to_string())),
            UseTree::Rename(rename) => self.bind(&rename.rename.to_string(), &with(rename.ident.to_string())),
        }
    }

    fn bind(&mut self, name: &str, path: &[String]) {
        if let Some(path) = self.absolute(path) {
            self.source.paths.insert(path.clone());
            self.source.imports.insert(name.to_owned(), path);
        }
    }
}

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes = match item {
            Item::Use(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let before = (self.source.paths.clone(), self.source.imports.clone());
        self.import(&item.tree, &[]);
        if matches!(item.vis, syn::Visibility::Inherited) {
            return;
        }
        // What is passed on is a use of its own only where the file names it, too.
        let paths = std::mem::replace(&mut self.source.paths, before.0);
        let imported = self.source.imports.iter().filter(|(name, _)| !before.1.contains_key(*name));
        self.passed_on.extend(imported.map(|(name, path)| (name.clone(), path.clone())));
        let named: BTreeSet<_> = self.passed_on.values().collect();
        self.source
            .globs
            .extend(paths.into_iter().filter(|path| !named.contains(path) && !self.source.paths.contains(path)));
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.used.extend(segments.first().cloned());
        if segments.len() > 1
            && let Some(absolute) = self.absolute(&segments)
        {
            self.source.paths.insert(absolute);
        }
        visit::visit_path(self, path);
    }
}

/// Each shipped file, and those whose items it names; re-exports are followed to the file that defines.
pub(crate) fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = BTreeMap::new();
    let mut modules: BTreeMap<Module, syn::File> = BTreeMap::new();
    for (path, text) in shipped_sources().into_iter().filter(|(path, _)| path.starts_with("src")) {
        let module = module_of(&path);
        modules.insert(module.clone(), syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}")));
        files.insert(module, path.display().to_string());
    }
    let read = |(module, file): (&Module, &syn::File)| {
        let children = modules
            .keys()
            .filter(|other| other.len() == module.len() + 1 && other.starts_with(module))
            .map(|other| other.last().unwrap().clone())
            .collect();
        let (source, passed_on, used) = Default::default();
        let mut reader = Reader { module, children: &children, source, passed_on, used };
        reader.visit_file(file);
        let Reader { mut source, passed_on, used, .. } = reader;
        source.paths.extend(passed_on.into_iter().filter(|(name, _)| used.contains(name)).map(|(_, path)| path));
        source.items = file.items.iter().filter_map(name_of).collect();
        (module.clone(), source)
    };
    let sources: BTreeMap<_, _> = modules.iter().map(read).collect();
    let mut uses = BTreeMap::new();
    for (module, source) in &sources {
        let named = source.paths.iter().filter_map(|path| definer(&sources, path, 0)).filter(|other| other != module);
        uses.insert(files[module].clone(), named.map(|other| files[&other].clone()).collect());
    }
    uses
}

fn module_of(path: &Path) -> Module {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let mut module: Vec<_> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(module.last().unwrap().as_str(), "mod" | "lib" | "main") {
        module.pop();
    }
    module
}

/// The module whose file defines what an absolute path leads to.
fn definer(sources: &BTreeMap<Module, Source>, path: &[String], depth: usize) -> Option<Module> {
    let known = (0..=path.len()).rev().find(|length| sources.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(known);
    let source = &sources[module];
    let Some(name) = rest.first().filter(|_| depth < 8) else { return Some(module.to_vec()) };
    if let Some(target) = source.imports.get(name) {
        let further: Vec<_> = target.iter().chain(&rest[1..]).cloned().collect();
        return definer(sources, &further, depth + 1);
    }
    let passes = |glob: &&Module| {
        sources.get(*glob).is_some_and(|other| other.items.contains(name) || other.imports.contains_key(name))
    };
    match source.globs.iter().find(passes).filter(|_| !source.items.contains(name)) {
        Some(glob) => definer(sources, &glob.iter().chain(rest).cloned().collect::<Vec<_>>(), depth + 1),
        None => Some(module.to_vec()),
    }
}

/// The name of what an item defines.
fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Groups of files each of which leads to each other one of its group.
pub(crate) fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            next.extend(uses[file].iter().filter(|other| reached.insert((*other).clone())));
        }
        reached
    };
    let reached: BTreeMap<_, _> = uses.keys().map(|file| (file, reached(file))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for file in uses.keys().filter(|file| reached[file].contains(*file)) {
        let circle: Vec<_> = reached[file].iter().filter(|other| reached[other].contains(file)).cloned().collect();
        if seen.insert(circle.clone()) {
            circles.push(circle);
        }
    }
    circles
}
