//! Which key an object has. Backends know keys and no names; above them there are names and no keys.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;

use super::checked::{corrupt, printable};
use super::kind::Kind;
#[cfg(any(feature = "azure", feature = "gcs"))]
use crate::domain::limits::FOLDER_PAGES_MAX;
use crate::domain::litestream::{Dated, Folder, Layout, LevelKeys, Listed, ObjectName, SNAPSHOT_LEVEL};
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{Content, Cursor, Page, ReplicaStore};

/// An object of a listing by its key below the replica's root, such as `ltx/0/0000000000000001-0000000000000001.ltx`.
#[derive(Debug)]
pub(super) struct KeyInfo {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) at: Dated,
}

/// One page of keys, in ascending byte order.
#[derive(Debug, Default)]
pub(super) struct KeyPage {
    pub(super) objects: Vec<KeyInfo>,
    pub(super) next: Option<Cursor>,
}

/// One page of the names of folders.
#[derive(Debug, Default)]
pub(super) struct FolderPage {
    pub(super) names: Vec<String>,
    pub(super) next: Option<Cursor>,
}

impl From<Vec<String>> for FolderPage {
    /// All there are.
    fn from(names: Vec<String>) -> Self {
        Self { names, next: None }
    }
}

/// What keys begin with, as Go's `path.Join` makes it of a clean path.
#[cfg(any(feature = "azure", feature = "gcs"))]
pub(super) fn root(path: &str) -> String {
    let slash = if path.is_empty() || path.ends_with('/') { "" } else { "/" };
    format!("{path}{slash}")
}

/// The first page with an object from the key `from` on, behind the page that gave the cursor. The server may give pages with
/// nothing in them, and not every one knows where a listing starts. `page` is asked for the one that such a token leads to, and
/// gives the token of the next one.
#[cfg(any(feature = "azure", feature = "gcs"))]
pub(super) async fn first_filled<F: Future<Output = Result<(Vec<KeyInfo>, Option<String>), Reason>>>(
    from: Option<&str>,
    cursor: Option<&Cursor>,
    page: impl Fn(Option<String>) -> F,
) -> Result<KeyPage, Reason> {
    let mut token = cursor.and_then(|cursor| cursor.get::<String>()).cloned();
    for _ in 0..FOLDER_PAGES_MAX {
        let (mut objects, next) = page(token).await?;
        objects.retain(|object| from.is_none_or(|from| object.key.as_str() >= from));
        if next.is_none() || !objects.is_empty() {
            return Ok(KeyPage { objects, next: next.map(Cursor::new) });
        }
        token = next;
    }
    Err(corrupt("an endless listing of empty pages".to_owned()))
}

/// A backend: objects below the replica's root, by keys that are relative to it and use `/`.
#[async_trait]
pub(super) trait KeyStore: Send + Sync {
    /// One page of the objects whose key starts with `prefix`, from the key `from` on, or behind the page that gave the
    /// cursor. `prefix` ends in `/`; objects in folders below it may be left out.
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason>;

    /// The objects in all folders directly below `prefix`, folder by folder; `None` where there are more than a page. Asked only
    /// of a [`Kind`] that is `nested`.
    async fn all(&self, _prefix: &str) -> Result<Option<KeyPage>, Reason> {
        Ok(None)
    }

    /// All keys that [`Self::list`] gives of some prefixes, in any order, without what else a listing says of them; `None` where
    /// one has more than a page.
    async fn names(&self, prefixes: &[String]) -> Result<Option<Vec<String>>, Reason> {
        let mut keys = Vec::new();
        for prefix in prefixes {
            let page = self.list(prefix, None, None).await?;
            if page.next.is_some() {
                return Ok(None);
            }
            keys.extend(page.objects.into_iter().map(|object| object.key));
        }
        Ok(Some(keys))
    }

    /// One page of the names directly below `prefix` that have keys below them (`0000`, `ltx`, a generation), in any order,
    /// without `/`; behind the page that gave the cursor. `prefix` is empty or ends in `/`.
    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason>;

    /// The names of all pages, each once, in ascending order.
    async fn all_folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        let FolderPage { mut names, mut next } = self.folders(prefix, None).await?;
        while let Some(cursor) = next {
            let page = self.folders(prefix, Some(&cursor)).await?;
            names.extend(page.names);
            next = page.next;
        }
        // `a-/` comes before `a/`, while `a` is the smaller name.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// As [`ReplicaStore::read`].
    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason>;

    /// The bytes that are left on the filesystem of a directory; `None` of all other places.
    async fn space_left(&self) -> Option<u64> {
        None
    }
}

/// The object is not there, while what holds it is: a reason for the latter has a hint.
pub(super) fn is_object_missing(reason: &Reason) -> bool {
    reason.kind == ReasonKind::NotFound && reason.hint.is_none()
}

/// The name of a folder directly below a full prefix; `None` where a doubled slash makes one without a name, which holds
/// nothing that Litestream wrote.
pub(super) fn folder_name(folder: &str, below: &str) -> Result<Option<String>, Reason> {
    let name = folder.strip_prefix(below).and_then(|name| name.strip_suffix('/'));
    let name = name.ok_or_else(|| corrupt(format!("{} is not below the prefix", printable(folder))))?;
    Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

/// What a time of last modification says of a file: Litestream v0.5 sets it to that of the file's header, where it writes
/// files, and what is called as on S3 was copied from there.
pub(super) fn file_dated(key: &str, modified: Timestamp) -> Dated {
    if key.starts_with(Layout::V5(LevelKeys::Plain).root()) {
        Dated::Written(modified)
    } else {
        Dated::Uploaded(modified)
    }
}

/// What an object says of its time, where Litestream v0.5 keeps its own beside it (`litestream-timestamp`): that, if it can
/// be read, else when the object came.
#[cfg(any(feature = "azure", feature = "gcs"))]
pub(super) fn of_litestream(key: &str, written: Option<&str>, uploaded: Timestamp) -> Dated {
    let written = written.and_then(|written| written.parse().ok()).map(|written| file_dated(key, written));
    written.unwrap_or(Dated::Uploaded(uploaded))
}

/// A store of keys as a replica.
#[derive(Debug)]
pub struct Named<S> {
    pub(super) store: S,
    /// Levels are named as on S3. What was listed says so; until then, the kind of store does.
    hex: AtomicBool,
    /// A listing of a prefix shows what is in the folders below it, too.
    flat: bool,
    /// One request shows what is in the folders directly below a prefix, folder by folder.
    nested: bool,
    /// A listing of what is new in a folder reads the whole folder.
    whole: bool,
}

impl<S> Named<S> {
    pub(super) fn over(store: S, kind: &Kind) -> Self {
        let Kind { of, flat, nested, whole, .. } = *kind;
        Self { store, hex: AtomicBool::new(of.level_keys() == LevelKeys::Hex), flat, nested, whole }
    }

    fn keys(&self) -> LevelKeys {
        if self.hex.load(Ordering::Relaxed) { LevelKeys::Hex } else { LevelKeys::Plain }
    }

    /// A page with the names of what is `wanted`.
    fn named(&self, KeyPage { objects, next }: KeyPage, wanted: impl Fn(&ObjectName) -> bool) -> Page {
        let keys = self.keys();
        let mut page = Page { objects: Vec::with_capacity(objects.len()), odd: Vec::new(), next };
        for KeyInfo { key, size, at } in objects {
            match ObjectName::of_key(&key, keys).filter(&wanted) {
                Some(name) => page.objects.push(Listed { name, size, at }),
                None => page.odd.push(key),
            }
        }
        page
    }

    /// Takes in how the folders of the root are called. Where levels are there under both kinds of keys, the first kind
    /// is the replica, as for Litestream: objects have names here, and no name says which kind is meant.
    pub(super) fn learn(&self, folders: &[String]) -> Vec<Layout> {
        let mut layouts = Layout::recognise(folders);
        if let Some(Layout::V5(keys)) = layouts.first().copied() {
            self.hex.store(keys == LevelKeys::Hex, Ordering::Relaxed);
            layouts.retain(|layout| matches!(layout, Layout::V3) || *layout == Layout::V5(keys));
        }
        layouts
    }
}

#[async_trait]
impl<S: KeyStore> ReplicaStore for Named<S> {
    async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
        Ok(self.learn(&self.store.all_folders("").await?))
    }

    async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason> {
        let names = self.store.all_folders(layout.root()).await?;
        Ok(match layout {
            Layout::V5(keys) => {
                let levels = (0..=SNAPSHOT_LEVEL).filter(|level| names.contains(&keys.folder(*level)));
                levels.map(Folder::Level).collect()
            }
            Layout::V3 => {
                let generations = names.iter().filter_map(|name| name.parse().ok());
                generations.flat_map(|generation| [Folder::Wal(generation), Folder::Snapshots(generation)]).collect()
            }
        })
    }

    async fn all(&self, layout: Layout) -> Result<Option<Page>, Reason> {
        let page = match layout {
            _ if self.flat => Some(self.store.list(layout.root(), None, None).await?),
            // Levels come in their order; the segments of a generation would come after its snapshots.
            Layout::V5(LevelKeys::Plain) if self.nested => self.store.all(layout.root()).await?,
            _ => None,
        };
        Ok(page.map(|page| self.named(page, |name| name.is_of(layout))))
    }

    async fn list(&self, folder: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason> {
        let keys = self.keys();
        let from = from.map(|name| name.key(keys));
        let page = self.store.list(&folder.prefix(keys), from.as_deref(), cursor).await?;
        Ok(self.named(page, |name| name.folder() == folder))
    }

    async fn names(&self, folders: &[Folder]) -> Result<Option<Vec<ObjectName>>, Reason> {
        if !self.whole {
            return Ok(None);
        }
        let keys = self.keys();
        let prefixes: Vec<String> = folders.iter().map(|folder| folder.prefix(keys)).collect();
        let found = self.store.names(&prefixes).await?;
        let name = |key: String| ObjectName::of_key(&key, keys).filter(|name| folders.contains(&name.folder()));
        Ok(found.map(|found| found.into_iter().filter_map(name).collect()))
    }

    async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
        self.store.read(&name.key(self.keys()), offset, length).await
    }

    async fn space_left(&self) -> Option<u64> {
        self.store.space_left().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::StoreKind;

    #[test]
    fn levels_under_both_kinds_of_keys_are_one_layout_so_that_nothing_is_listed_twice() {
        let folders = ["0000", "generations", "ltx"].map(str::to_owned);
        let layouts = Named::over((), &Kind { flat: true, ..Kind::plain(StoreKind::S3) }).learn(&folders);
        assert_eq!(layouts, [Layout::recognise(&folders)[0], Layout::V3]);
    }
}
