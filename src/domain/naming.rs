//! Names of databases: the file's name without its extension, and as many directories as make it unique.
//!
//! A name is an interface: it is the `database` label of every series. Once given it stays with its path, whatever comes
//! to lie beside it, and names nothing else for as long as it is remembered. Without a memory, names depend on the set of
//! paths and not on their order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::limits::{KNOWN_NAMES_MAX, NAMES_MAX};
use super::printable::{is_unseen, visible};

/// A database to be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// An absolute path, or `bucket/path` of a replica without a database. No two are equal.
    pub path: String,
    /// The name that a person gave; it wins.
    pub given: Option<String>,
}

/// The names that were given, and to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<Arc<str>, Named>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    path: String,
    /// By a person, who may give it to something else. Without that person the path has the name it had before.
    given: bool,
    gone_since: Option<Timestamp>,
    /// Something has it now.
    #[serde(skip)]
    present: bool,
}

impl Names {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A name is, or was, that of something else.
    pub fn is_of_another(&self, name: &str, path: &str) -> bool {
        self.0.get(name).is_some_and(|named| named.path != path)
    }

    /// What has a name, as far as is known: not what is known to be gone.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|named| named.gone_since.is_none()).map(|named| named.path.as_str())
    }

    /// Takes over a name of an earlier run, unless the name or the path is known already.
    pub fn remember(&mut self, name: &str, path: String) {
        // What could not be seen is named anew.
        let known = name.chars().any(is_unseen) || self.0.contains_key(name);
        if !known && !self.0.values().any(|named| named.path == path) {
            self.0.insert(name.into(), Named { path, given: false, gone_since: None, present: false });
        }
    }

    /// Names in the order of `items`; each is unique unless two are given alike. What is known keeps its name, unless a
    /// person gave that to something else.
    pub fn assign(&mut self, items: &[Naming]) -> Vec<Arc<str>> {
        let given: HashSet<&str> = items.iter().filter_map(|item| item.given.as_deref()).collect();
        let known: HashMap<String, Arc<str>> = self
            .0
            .iter()
            .filter(|(name, named)| !named.given && !given.contains(&***name))
            .map(|(name, named)| (named.path.clone(), Arc::clone(name)))
            .collect();
        let new: HashSet<&str> = items
            .iter()
            .filter(|item| item.given.is_none() && !known.contains_key(&item.path))
            .map(|item| item.path.as_str())
            .collect();
        let mut derived = HashMap::new();
        if !new.is_empty() {
            let mut paths: Vec<&str> = known.keys().map(String::as_str).chain(new.iter().copied()).collect();
            paths.sort_unstable();
            let taken = |name: &str, path: &str| {
                given.contains(name) || self.0.get(name).is_some_and(|named| named.path != path)
            };
            derived = derive(&paths, &new, taken);
        }
        let name = |item: &Naming| match (&item.given, known.get(&item.path), derived.get(item.path.as_str())) {
            (Some(given), ..) => Arc::from(given.as_str()),
            (None, Some(known), _) => Arc::clone(known),
            (None, None, Some(derived)) => Arc::from(derived.as_str()),
            (None, None, None) => Arc::from(item.path.as_str()),
        };
        let names: Vec<Arc<str>> = items.iter().map(name).collect();
        self.0.values_mut().for_each(|named| named.present = false);
        for (item, name) in items.iter().zip(&names) {
            let given = item.given.is_some();
            let named = Named { path: item.path.clone(), given, gone_since: None, present: true };
            self.0.insert(Arc::clone(name), named);
        }
        names
    }

    /// Forgets the names that nothing has had for longer than `kept`, and above the bound those that are gone longest.
    pub fn settle(&mut self, now: Timestamp, kept: SignedDuration) {
        for named in self.0.values_mut().filter(|named| !named.present) {
            named.gone_since.get_or_insert(now);
        }
        let old = |named: &Named| named.gone_since.is_some_and(|since| now.duration_since(since) > kept);
        self.0.retain(|_, named| !old(named));
        let beyond = self.0.len().saturating_sub(NAMES_MAX);
        if beyond > 0 {
            let gone = self.0.iter().filter_map(|(name, named)| Some((named.gone_since?, name.clone())));
            let mut gone: Vec<_> = gone.collect();
            gone.sort_unstable();
            gone.iter().take(beyond).for_each(|(_, name)| drop(self.0.remove(name)));
        }
    }
}

/// A path from its end: the name, its directory, the directory above it, …
struct Reversed<'a> {
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

/// The shortest names of those of the `paths` that are `new`, such that none of the `paths` ends in another one's and none
/// is taken.
fn derive(paths: &[&str], new: &HashSet<&str>, taken: impl Fn(&str, &str) -> bool) -> HashMap<String, String> {
    let mut sorted: Vec<Reversed<'_>> =
        paths.iter().zip(stems(paths)).map(|(path, stem)| Reversed { path, stem }).collect();
    sorted.sort_by(Reversed::order);
    let (mut named, mut used) = (HashMap::with_capacity(new.len()), HashSet::new());
    for (at, this) in sorted.iter().enumerate().filter(|(_, this)| new.contains(this.path)) {
        // In this order the one that has most in common with a path stands beside it.
        let before = at.checked_sub(1).map_or(0, |before| this.common(&sorted[before]));
        let after = sorted.get(at + 1).map_or(0, |after| this.common(after));
        let all = this.parts().count();
        let taken = |name: &String| taken(name, this.path) || used.contains(name);
        let name = |parts| visible(&this.name(parts)).into_owned();
        let name = (before.max(after) + 1..=all).map(name).find(|name| !taken(name));
        // Every directory is used up (`/app.db` beside `/x/app.db`): the slash at the front tells them apart.
        let path = visible(this.path).into_owned();
        let mut name = name.unwrap_or_else(|| path.clone());
        let mut number = 2;
        while taken(&name) {
            name = format!("{path}~{number}");
            number += 1;
        }
        used.insert(name.clone());
        named.insert(this.path.to_owned(), name);
    }
    named
}

/// The file names without extension; with it where only the extension tells two files apart.
fn stems<'a>(paths: &[&'a str]) -> Vec<&'a str> {
    let full = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
    let stem = |path: &'a str| match full(path).rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => stem,
        _ => full(path),
    };
    let beside = |path: &'a str| &path[..path.len() - full(path).len()];
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    for path in paths {
        *seen.entry((beside(path), stem(path))).or_default() += 1;
    }
    let unique = |path: &'a str| seen.get(&(beside(path), stem(path))) == Some(&1);
    paths.iter().map(|path| if unique(path) { stem(path) } else { full(path) }).collect()
}

/// Says to whoever asked for a name that is not there which there are, the likeliest first.
pub fn known_databases<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    // Comparing costs the product of the lengths.
    let like = |name: &str| if asked.len() > 64 { 0 } else { strsim::osa_distance(asked, name) };
    names.sort_by_cached_key(|name| (!name.contains(asked), like(name)));
    let more = names.len().saturating_sub(KNOWN_NAMES_MAX);
    let more = if more > 0 { format!(" … and {more} more") } else { String::new() };
    names.truncate(KNOWN_NAMES_MAX);
    format!("known databases: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(path: &str) -> Naming {
        Naming { path: path.to_owned(), given: None }
    }

    fn given(name: &str, path: &str) -> Naming {
        Naming { path: path.to_owned(), given: Some(name.to_owned()) }
    }

    fn names(items: &[Naming]) -> Vec<String> {
        named(&mut Names::default(), items)
    }

    fn named(memory: &mut Names, items: &[Naming]) -> Vec<String> {
        memory.assign(items).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_likeliest_names_are_told_first_and_the_rest_is_counted() {
        let names: Vec<String> = (0..549).map(|number| format!("t{number:04}/app")).collect();
        let told = |asked: &str| known_databases(asked, names.iter().map(String::as_str));
        for (asked, nearest) in [("t0020", "t0020/app, "), ("t002/app", "t0002/app, "), ("t0548/api", "t0548/app, ")] {
            let told = told(asked);
            assert!(told.starts_with(&format!("known databases: {nearest}")), "{asked}: {told}");
            assert!(told.ends_with(" … and 539 more") && told.matches("/app").count() == 10, "{told}");
        }
        assert_eq!(known_databases("x", ["b", "a"].into_iter()), "known databases: b, a");
    }

    fn check(paths: &[&str], expected: &[&str]) {
        let items: Vec<Naming> = paths.iter().map(|name| path(name)).collect();
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
        assert_eq!(names(&[given("app", "/srv/a/other.db"), path("/srv/b/app.db")]), ["app", "b/app"]);
    }

    #[test]
    fn ten_thousand_tenants_are_named() {
        let items: Vec<Naming> = (0..10_000).map(|n| path(&format!("/srv/tenants/{n}/db/app.db"))).collect();
        let names = names(&items);
        assert_eq!(names[42], "42/db/app");
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 10_000);
    }

    #[test]
    fn a_sibling_that_comes_or_goes_changes_no_name() {
        let mut memory = Names::default();
        let (a, b) = (path("/srv/a/app.db"), path("/srv/b/app.db"));
        assert_eq!(named(&mut memory, &[a.clone(), b.clone()]), ["a/app", "b/app"]);
        assert_eq!(named(&mut memory, std::slice::from_ref(&a)), ["a/app"]);
        assert_eq!(named(&mut memory, &[path("/srv/c/app.db"), b]), ["c/app", "b/app"]);
        let mut memory = Names::default();
        assert_eq!(named(&mut memory, std::slice::from_ref(&a)), ["app"]);
        assert_eq!(
            named(&mut memory, &[path("/srv/a/app.sqlite"), path("/app.db"), a]),
            ["app.sqlite", "/app.db", "app"]
        );
    }

    #[test]
    fn a_person_may_take_a_name_and_give_it_back() {
        let mut memory = Names::default();
        let (one, two) = (path("/srv/one.db"), path("/srv/two.db"));
        assert_eq!(named(&mut memory, &[one.clone(), two.clone()]), ["one", "two"]);
        assert_eq!(named(&mut memory, &[one.clone(), given("one", "/srv/two.db")]), ["srv/one", "one"]);
        assert_eq!(named(&mut memory, &[one, two]), ["srv/one", "two"]);
    }

    #[test]
    fn what_is_long_gone_is_forgotten_and_its_name_is_free() {
        let mut memory = Names::default();
        let (day, kept) = (|day: i64| Timestamp::from_second(day * 86_400).unwrap(), SignedDuration::from_hours(240));
        memory.assign(&[path("/srv/a/app.db")]);
        memory.settle(day(0), kept);
        for (now, expected) in [(1, "b/app"), (10, "b/app"), (12, "b/app")] {
            assert_eq!(named(&mut memory, &[path("/srv/b/app.db")]), [expected]);
            memory.settle(day(now), kept);
        }
        // The one that stays keeps what it has; a new one may have what is free.
        assert_eq!(named(&mut memory, &[path("/srv/b/app.db"), path("/srv/a/app.db")]), ["b/app", "a/app"]);
        memory.remember("app", "/srv/z/app.db".into());
        memory.remember("other", "/srv/z/app.db".into());
        assert_eq!(named(&mut memory, &[path("/srv/z/app.db")]), ["app"]);
    }

    #[test]
    fn what_would_not_be_seen_is_spelled_out() {
        let items = ["/d/\u{1f}notify.db", "/d/\\u{1f}notify.db", "/d/a\u{202e}bd.db", "/d/\n.db"].map(path);
        let expected = ["\\u{1f}notify", "d/\\u{1f}notify", "a\\u{202e}bd", "\\u{a}"];
        let mut found = names(&items);
        // Which of two that look alike has the shorter name does not matter.
        if found[0].starts_with("d/") {
            found.swap(0, 1);
        }
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn names_are_unique_and_order_does_not_matter(
            paths in proptest::collection::hash_set("(/[ab]{1,2}){1,4}(\\.db|\\.a|)", 1..12),
        ) {
            let items: Vec<Naming> = paths.iter().map(|name| path(name)).collect();
            let forwards = names(&items);
            prop_assert_eq!(forwards.iter().collect::<HashSet<_>>().len(), items.len(), "{:?} {:?}", items, forwards);
            let mut backwards: Vec<Naming> = items.clone();
            backwards.reverse();
            let mut backwards = names(&backwards);
            backwards.reverse();
            prop_assert_eq!(forwards, backwards);
        }

        #[test]
        fn a_name_never_changes_and_never_names_two(
            sets in proptest::collection::vec(
                proptest::collection::hash_set("(/[ab]{1,2}){1,4}(\\.db|\\.a|)", 0..8), 1..12),
        ) {
            let (mut memory, mut seen) = (Names::default(), HashMap::new());
            for set in sets {
                let items: Vec<Naming> = set.iter().map(|name| path(name)).collect();
                for (item, name) in items.iter().zip(named(&mut memory, &items)) {
                    let before = seen.insert(item.path.clone(), name.clone());
                    prop_assert!(before.is_none_or(|before| before == name), "{item:?} is {name}");
                }
                memory = serde_json::from_str(&serde_json::to_string(&memory).unwrap()).unwrap();
                let names: HashSet<_> = seen.values().collect();
                prop_assert_eq!(names.len(), seen.len(), "{:?}", seen);
            }
        }
    }
}
