//! Names of databases: the file's name without its extension, and as many directories as make it unique.
//!
//! A name depends on the set of paths and not on their order, so that a restart or another discovery gives the same.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// What is to be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// By a person; these win.
    Given(String),
    /// After an absolute path, or `bucket/path` of a replica without a database. No two are equal.
    Path(String),
}

/// Names in the order of `items`; each is unique unless two are given alike.
pub(super) fn names(items: &[Naming]) -> Vec<String> {
    let mut names: Vec<String> = vec![String::new(); items.len()];
    let mut given = HashSet::new();
    let mut paths = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item {
            Naming::Given(name) => {
                given.insert(name.as_str());
                name.clone_into(&mut names[index]);
            }
            Naming::Path(path) => paths.push((index, path.as_str())),
        }
    }
    for (index, name) in derive(&paths, &given) {
        names[index] = name;
    }
    names
}

/// A path from its end: the name, its directory, the directory above it, …
struct Reversed<'a> {
    index: usize,
    path: &'a str,
    stem: &'a str,
}

impl<'a> Reversed<'a> {
    fn parts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let directories = self.path.rsplit('/').skip(1).filter(|part| !part.is_empty());
        std::iter::once(self.stem).chain(directories)
    }

    /// How many parts both end in.
    fn common(&self, other: &Self) -> usize {
        self.parts().zip(other.parts()).take_while(|(a, b)| a == b).count()
    }

    fn name(&self, parts: usize) -> String {
        let mut parts: Vec<&str> = self.parts().take(parts).collect();
        parts.reverse();
        parts.join("/")
    }

    fn order(&self, other: &Self) -> Ordering {
        self.parts().cmp(other.parts()).then_with(|| self.path.cmp(other.path))
    }
}

fn derive(paths: &[(usize, &str)], given: &HashSet<&str>) -> Vec<(usize, String)> {
    let stems = stems(paths);
    let mut sorted: Vec<Reversed<'_>> =
        paths.iter().zip(stems).map(|((index, path), stem)| Reversed { index: *index, path, stem }).collect();
    sorted.sort_by(Reversed::order);
    let mut named = Vec::with_capacity(sorted.len());
    for (at, this) in sorted.iter().enumerate() {
        // In this order the one that has most in common with a path stands beside it.
        let before = at.checked_sub(1).map_or(0, |before| this.common(&sorted[before]));
        let after = sorted.get(at + 1).map_or(0, |after| this.common(after));
        let all = this.parts().count();
        let mut parts = before.max(after) + 1;
        let mut name = this.name(parts);
        while given.contains(name.as_str()) && parts < all {
            parts += 1;
            name = this.name(parts);
        }
        // Every directory is used up (`/app.db` beside `/x/app.db`): the slash at the front tells them apart.
        let exhausted = parts > all || given.contains(name.as_str());
        named.push((this.index, if exhausted { this.path.to_owned() } else { name }));
    }
    named
}

/// The file names without extension; with it where only the extension tells two files apart.
fn stems<'a>(paths: &[(usize, &'a str)]) -> Vec<&'a str> {
    let full = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
    let stem = |path: &'a str| match full(path).rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => stem,
        _ => full(path),
    };
    let beside = |path: &'a str| &path[..path.len() - full(path).len()];
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    for (_, path) in paths {
        *seen.entry((beside(path), stem(path))).or_default() += 1;
    }
    let unique = |path: &'a str| seen.get(&(beside(path), stem(path))) == Some(&1);
    paths.iter().map(|(_, path)| if unique(path) { stem(path) } else { full(path) }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(paths: &[&str], expected: &[&str]) {
        let items: Vec<Naming> = paths.iter().map(|path| Naming::Path((*path).to_owned())).collect();
        assert_eq!(names(&items), expected);
        let backwards: Vec<Naming> = items.into_iter().rev().collect();
        let mut names = names(&backwards);
        names.reverse();
        assert_eq!(names, expected, "another order gives other names");
    }

    #[test]
    fn as_short_as_unique_allows() {
        check(&["/data/app.db"], &["app"]);
        check(&["/data/app.db", "/data/users.sqlite3", "/data/plain"], &["app", "users", "plain"]);
        check(&["/srv/tenants/a/app.db", "/srv/tenants/b/app.db", "/srv/other.db"], &["a/app", "b/app", "other"]);
        check(&["/x/a/db/app.db", "/y/a/db/app.db", "/z/b/db/app.db"], &["x/a/db/app", "y/a/db/app", "b/db/app"]);
        check(&["/app.db", "/x/app.db", "/y/x/app.db"], &["/app.db", "/x/app.db", "y/x/app"]);
    }

    #[test]
    fn extensions_stay_where_they_matter() {
        check(&["/d/app.db", "/d/app.sqlite", "/e/app.db"], &["app.db", "app.sqlite", "app"]);
        check(&["/d/.hidden", "/d/archive.2024.db", "/d/odd."], &[".hidden", "archive.2024", "odd."]);
    }

    #[test]
    fn given_names_win() {
        let given = Naming::Given("app".to_owned());
        let path = Naming::Path("/srv/b/app.db".to_owned());
        assert_eq!(names(&[given, path]), ["app", "b/app"]);
    }

    #[test]
    fn ten_thousand_tenants_are_named() {
        let items: Vec<Naming> = (0..10_000).map(|n| Naming::Path(format!("/srv/tenants/{n}/db/app.db"))).collect();
        let names = names(&items);
        assert_eq!(names[42], "42/db/app");
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 10_000);
    }

    proptest! {
        #[test]
        fn names_are_unique_and_order_does_not_matter(
            paths in proptest::collection::hash_set("(/[ab]{1,2}){1,4}(\\.db|\\.a|)", 1..12),
        ) {
            let items: Vec<Naming> = paths.into_iter().map(Naming::Path).collect();
            let forwards = names(&items);
            prop_assert_eq!(forwards.iter().collect::<HashSet<_>>().len(), items.len(), "{:?} {:?}", items, forwards);
            let mut backwards: Vec<Naming> = items.clone();
            backwards.reverse();
            let mut backwards = names(&backwards);
            backwards.reverse();
            prop_assert_eq!(forwards, backwards);
        }
    }
}
