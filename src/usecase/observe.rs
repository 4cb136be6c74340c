//! Finds the replicas below a place, so that nobody has to list them.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::ports::Shelf;
use crate::domain::beacon;
use crate::domain::limits::{OBSERVED_FOLDERS_MAX, OBSERVED_REQUESTS_MAX};
use crate::domain::litestream::Layout;
use crate::domain::reason::{Reason, ReasonKind};

/// Where to look below a place.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Folders in one another, at most.
    pub depth: usize,
    /// Replicas that are known. One that is still listed is not looked into again.
    pub known: &'a BTreeSet<String>,
    /// Whether a folder, by its path below the place, is looked into.
    pub wanted: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Finds the paths of all replicas below a place: one request for each thousand folders there, and one for each folder that
/// is not known as a replica. What was `found` before something failed need not be looked into again.
///
/// # Errors
///
/// When a listing fails, when the place itself is a replica, and when there are too many folders.
pub async fn replicas(shelf: &dyn Shelf, scope: Scope<'_>, found: &mut BTreeSet<String>) -> Result<(), Reason> {
    let top = shelf.folders("").await?;
    if !Layout::recognise(&top).is_empty() {
        let cause = "this place is itself a replica";
        return Err(Reason::new(ReasonKind::Misconfigured, cause).with_hint("name it in a [[database.replica]]"));
    }
    let mut looked_into = 0;
    let mut level: Vec<String> = top.into_iter().filter(|name| may_be_named(name)).collect();
    for depth in 1..=scope.depth {
        let (known, new): (Vec<String>, Vec<String>) =
            level.into_iter().filter(|path| (scope.wanted)(path)).partition(|path| scope.known.contains(path));
        found.extend(known);
        looked_into += new.len();
        if looked_into > OBSERVED_FOLDERS_MAX {
            let cause = format!("more than {OBSERVED_FOLDERS_MAX} folders to look into");
            return Err(
                Reason::new(ReasonKind::Unsupported, cause).with_hint("exclude some, or split them between shards")
            );
        }
        let looks = new.into_iter().map(|path| async move {
            let names = shelf.folders(&format!("{path}/")).await?;
            Ok::<_, Reason>((path, names))
        });
        level = Vec::new();
        let mut looks = stream::iter(looks).buffered(OBSERVED_REQUESTS_MAX);
        while let Some((path, names)) = looks.try_next().await? {
            if !Layout::recognise(&names).is_empty() {
                found.insert(path);
            } else if depth < scope.depth {
                level.extend(names.iter().filter(|name| may_be_named(name)).map(|name| format!("{path}/{name}")));
            }
        }
    }
    Ok(())
}

/// A folder that can hold replicas: not one that means another one, and not that of a beacon.
fn may_be_named(name: &str) -> bool {
    !matches!(name, "." | "..") && !beacon::is_folder(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// Keys of a bucket, and the prefixes that were listed.
    struct Keys(&'static [&'static str], Mutex<Vec<String>>);

    #[async_trait]
    impl Shelf for Keys {
        async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
            self.1.lock().unwrap().push(prefix.to_owned());
            let below = self.0.iter().filter_map(|key| key.strip_prefix(prefix)?.split_once('/'));
            let names: BTreeSet<String> = below.map(|(name, _)| name.to_owned()).collect();
            Ok(names.into_iter().collect())
        }
    }

    async fn find(
        keys: &'static [&'static str],
        depth: usize,
        known: &[&str],
    ) -> (Result<Vec<String>, String>, Vec<String>) {
        let shelf = Keys(keys, Mutex::default());
        let known = known.iter().map(|path| (*path).to_owned()).collect();
        let scope = Scope { depth, known: &known, wanted: &|path| path != "private" };
        let mut found = BTreeSet::new();
        let found = replicas(&shelf, scope, &mut found).await.map(|()| found.into_iter().collect());
        (found.map_err(|reason| reason.to_string()), shelf.1.into_inner().unwrap())
    }

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[tokio::test]
    async fn replicas_of_both_versions_are_found_at_any_depth_and_nothing_else() {
        const KEYS: &[&str] = &[
            "a/0000/x.ltx",
            "b/ltx/0/x.ltx",
            "c/generations/g/wal/x",
            "eu/d/0009/x.ltx",
            "eu/deep/er/ltx/0/x",
            "a.streamgauge/beacon.json",
            "logs/2026/app.log",
            "../ltx/0/x",
            "private/ltx/0/x",
            "note.txt",
        ];
        let (found, asked) = find(KEYS, 2, &[]).await;
        assert_eq!(found.unwrap(), paths(&["a", "b", "c", "eu/d"]));
        assert_eq!(asked, paths(&["", "a/", "b/", "c/", "eu/", "logs/", "eu/d/", "eu/deep/", "logs/2026/"]));
        assert_eq!(find(KEYS, 3, &[]).await.0.unwrap(), paths(&["a", "b", "c", "eu/d", "eu/deep/er"]));
        let (found, asked) = find(KEYS, 1, &["a", "b", "gone"]).await;
        assert_eq!((found.unwrap(), asked), (paths(&["a", "b", "c"]), paths(&["", "c/", "eu/", "logs/"])));
    }

    #[tokio::test]
    async fn a_replica_at_the_place_itself_is_not_taken_for_a_place_of_many() {
        let (found, _) = find(&["ltx/0/x.ltx"], 3, &[]).await;
        assert!(found.unwrap_err().contains("is itself a replica"));
        assert!(find(&["note.txt"], 3, &[]).await.0.unwrap().is_empty());
    }
}
