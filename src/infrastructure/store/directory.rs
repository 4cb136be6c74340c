//! A replica in a plain directory. Reads only: descriptors are opened read-only, name by name below the root, and a
//! symbolic link below the root is never followed, so no key leads outside.

mod entries;

use std::collections::BinaryHeap;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, fstatvfs, openat};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use self::entries::{OPEN_FLAGS, descend, each, enter, is_name, look};
use super::beacon::DirectoryBeacon;
use super::keys::{FolderPage, KeyInfo, KeyPage, KeyStore, file_dated};
use super::kind::{Kind, unsupported};
use super::reused::Buffers;
use crate::domain::limits::{DIRECTORY_DEPTH_MAX, DIRECTORY_READS_MAX, LIST_PAGE_KEYS_MAX, READ_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::files::{read_at, timestamp};
use crate::usecase::ports::{Content, Cursor};

/// Files in one page of a listing, and names that are kept of one reading of a directory.
#[derive(Clone, Copy)]
struct Bounds {
    page: usize,
    names: usize,
}

const BOUNDS: Bounds = Bounds { page: LIST_PAGE_KEYS_MAX, names: 4 * LIST_PAGE_KEYS_MAX };

pub(super) const KIND: Kind = Kind {
    nested: true,
    whole: true,
    open: |location, _| Ok(Box::new(DirectoryStore::new(root(location)?, true))),
    // Of a place with many replicas it is more likely that it is not mounted, or is called otherwise.
    shelf: |location, _| Ok(Box::new(DirectoryStore::new(root(location)?, false))),
    beacon: |location, _| Ok(Box::new(DirectoryBeacon::new(&root(location)?))),
    ..Kind::plain(StoreKind::File)
};

fn root(location: &ReplicaLocation) -> Result<PathBuf, Reason> {
    location.directory().map(Path::to_owned).ok_or_else(|| unsupported(location))
}

/// A directory as a replica.
pub(super) struct DirectoryStore {
    root: PathBuf,
    /// Where it is missing, it is empty.
    may_be_gone: bool,
    /// One listing at a time, and few reads: a directory on a dead network mount keeps these threads, not one more with
    /// each attempt.
    listing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    buffers: Buffers,
}

impl DirectoryStore {
    fn new(root: PathBuf, may_be_gone: bool) -> Self {
        let (listing, reading) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(DIRECTORY_READS_MAX)));
        Self { root, may_be_gone, listing, reading, buffers: Buffers::default() }
    }

    /// Runs `work` with the opened root where blocking is allowed; `nothing` where there is no root, and so nothing below it.
    async fn with_root<T: Send + 'static>(
        &self,
        busy: &Arc<Semaphore>,
        nothing: T,
        work: impl FnOnce(&OwnedFd) -> Result<T, Reason> + Send + 'static,
    ) -> Result<T, Reason> {
        // The semaphore is never closed.
        let permit = busy.clone().acquire_owned().await;
        let (root, may_be_gone) = (self.root.clone(), self.may_be_gone);
        blocking(move || {
            let _permit = permit;
            // The root itself is the user's choice and may be a link.
            match openat(CWD, &root, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) if may_be_gone && is_gone(&root) => Ok(nothing),
                root => work(&root.map_err(reason)?),
            }
        })
        .await
    }
}

/// Whether the lowest directory above that is there shows that there is nothing by this name, as a bucket shows nothing below a
/// prefix. Where a link on the way leads nowhere, something was meant to be there.
fn is_gone(root: &Path) -> bool {
    let lowest = root.ancestors().find(|path| path.symlink_metadata().is_ok());
    lowest.is_none_or(|lowest| lowest != root && lowest.is_dir())
}

#[async_trait]
impl KeyStore for DirectoryStore {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let rest = cursor.and_then(|cursor| cursor.get::<Rest>()).cloned();
        let (prefix, from) = (prefix.to_owned(), from.map(str::to_owned));
        let nothing = KeyPage::default();
        self.with_root(&self.listing, nothing, move |root| list(root, &prefix, from.as_deref(), rest, BOUNDS)).await
    }

    async fn all(&self, prefix: &str) -> Result<Option<KeyPage>, Reason> {
        let prefix = prefix.to_owned();
        let nothing = Some(KeyPage::default());
        self.with_root(&self.listing, nothing, move |root| all(root, &prefix, BOUNDS.page)).await
    }

    async fn names(&self, prefixes: &[String]) -> Result<Option<Vec<String>>, Reason> {
        let prefixes = prefixes.to_vec();
        let nothing = Some(Vec::new());
        self.with_root(&self.listing, nothing, move |root| names(root, &prefixes, BOUNDS.page)).await
    }

    async fn space_left(&self) -> Option<u64> {
        let left = |root: &OwnedFd| {
            let space = fstatvfs(root).ok();
            Ok(space.map(|space| space.f_bavail.saturating_mul(space.f_frsize)))
        };
        self.with_root(&self.listing, None, left).await.ok().flatten()
    }

    async fn folders(&self, prefix: &str, _: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let prefix = prefix.to_owned();
        self.with_root(&self.listing, Vec::new(), move |root| folders(root, &prefix)).await.map(FolderPage::from)
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let (key, buffers) = (key.to_owned(), self.buffers.clone());
        let read = self.with_root(&self.reading, None, move |root| read(root, &key, offset, length, &buffers)).await?;
        let missing = || Content::Missing(Reason::new(ReasonKind::NotFound, "no such file"));
        Ok(read.map_or_else(missing, Content::There))
    }
}

/// What a listing has read of a directory and not listed yet.
#[derive(Clone, Debug)]
struct Rest {
    /// Files, ascending.
    names: Arc<Vec<String>>,
    /// So many of them are listed.
    listed: usize,
    /// The directory held more than were kept.
    more: bool,
}

impl Rest {
    /// Reads a directory once. Keeps the `most` smallest names of files from `from` on.
    fn read(directory: &OwnedFd, prefix: &str, from: Bound<&str>, most: usize) -> Result<Self, Reason> {
        let (mut names, mut more) = (BinaryHeap::new(), false);
        each(directory, prefix, |name, kind| {
            if kind == FileType::RegularFile && RangeBounds::<str>::contains(&(from, Bound::Unbounded), name) {
                names.push(name.to_owned());
                if names.len() > most {
                    names.pop();
                    more = true;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self { names: Arc::new(names.into_sorted_vec()), listed: 0, more })
    }
}

/// One page. A directory is read once for as many names as are kept, however many pages they make; only the files of the
/// page are asked for their size.
fn list(
    root: &OwnedFd,
    prefix: &str,
    from: Option<&str>,
    rest: Option<Rest>,
    bounds: Bounds,
) -> Result<KeyPage, Reason> {
    let Some(directory) = descend(root, prefix)? else { return Ok(KeyPage::default()) };
    let mut rest = match rest {
        Some(rest) => rest,
        None => {
            let from = from.and_then(|from| from.strip_prefix(prefix)).map_or(Bound::Unbounded, Bound::Included);
            Rest::read(&directory, prefix, from, bounds.names)?
        }
    };
    let mut objects = Vec::new();
    loop {
        let Some(name) = rest.names.get(rest.listed) else {
            let Some(last) = rest.names.last().filter(|_| rest.more) else {
                return Ok(KeyPage { objects, next: None });
            };
            rest = Rest::read(&directory, prefix, Bound::Excluded(last), bounds.names)?;
            continue;
        };
        if objects.len() == bounds.page {
            return Ok(KeyPage { objects, next: Some(Cursor::new(rest)) });
        }
        objects.extend(file(&directory, format!("{prefix}{name}"), name)?);
        rest.listed += 1;
    }
}

/// The files in all directories in the one that a prefix names, one directory after the other; `None` where there are more than
/// `most`.
fn all(root: &OwnedFd, prefix: &str, most: usize) -> Result<Option<KeyPage>, Reason> {
    let Some(above) = descend(root, prefix)? else { return Ok(Some(KeyPage::default())) };
    let mut folders = Vec::new();
    each(&above, prefix, |name, kind| {
        folders.extend((kind == FileType::Directory).then(|| name.to_owned()));
        Ok(ControlFlow::Continue(()))
    })?;
    folders.sort_unstable();
    let mut objects = Vec::new();
    for folder in folders {
        let Some(directory) = enter(&above, &folder)? else { continue };
        let below = format!("{prefix}{folder}/");
        let found = Rest::read(&directory, &below, Bound::Unbounded, most - objects.len())?;
        if found.more {
            return Ok(None);
        }
        for name in found.names.iter() {
            objects.extend(file(&directory, format!("{below}{name}"), name)?);
        }
    }
    Ok(Some(KeyPage { objects, next: None }))
}

/// A file in a directory; `None` where it is gone, or no longer a file, since the directory was read.
fn file(directory: &OwnedFd, key: String, name: &str) -> Result<Option<KeyInfo>, Reason> {
    let stat = look(directory, name)?.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    stat.map(|stat| object(key, &stat)).transpose()
}

/// The keys of all files in some directories, none of which is asked for its size; `None` where one has more than `most`.
fn names(root: &OwnedFd, prefixes: &[String], most: usize) -> Result<Option<Vec<String>>, Reason> {
    let mut keys = Vec::new();
    for prefix in prefixes {
        let Some(directory) = descend(root, prefix)? else { continue };
        let (before, mut more) = (keys.len(), false);
        each(&directory, prefix, |name, kind| {
            if kind == FileType::RegularFile {
                more = keys.len() - before == most;
                if more {
                    return Ok(ControlFlow::Break(()));
                }
                keys.push(format!("{prefix}{name}"));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if more {
            return Ok(None);
        }
    }
    Ok(Some(keys))
}

fn folders(root: &OwnedFd, prefix: &str) -> Result<Vec<String>, Reason> {
    let Some(directory) = descend(root, prefix)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    each(&directory, prefix, |name, kind| {
        if kind == FileType::Directory
            && let Some(below) = enter(&directory, name)?
            && holds_files(&below, &format!("{prefix}{name}/"), 0)?
        {
            names.push(name.to_owned());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    names.sort_unstable();
    Ok(names)
}

/// There is a file below `directory`, as a bucket has no folder without one.
fn holds_files(directory: &OwnedFd, prefix: &str, depth: usize) -> Result<bool, Reason> {
    let mut holds = false;
    each(directory, prefix, |name, kind| {
        holds = match kind {
            FileType::RegularFile => true,
            FileType::Directory if depth < DIRECTORY_DEPTH_MAX => match enter(directory, name)? {
                Some(below) => holds_files(&below, &format!("{prefix}{name}/"), depth + 1)?,
                None => false,
            },
            _ => false,
        };
        Ok(if holds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(holds)
}

/// `None`: there is no such file.
fn read(root: &OwnedFd, key: &str, offset: u64, length: u64, buffers: &Buffers) -> Result<Option<Bytes>, Reason> {
    let (parent, name) = key.rsplit_once('/').map_or(("", key), |(parent, name)| (parent, name));
    let Some(directory) = descend(root, parent)?.filter(|_| is_name(name)) else { return Ok(None) };
    let file = match openat(&directory, name, OPEN_FLAGS | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO) => return Ok(None),
        file => file.map_err(reason)?,
    };
    let stat = fstat(&file).map_err(reason)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let length = length.min(size.saturating_sub(offset)).min(READ_BYTES_MAX);
    let length = usize::try_from(length).unwrap_or(0);
    let mut content = buffers.take(length);
    // Less when the file was cut since it was asked for its size.
    let filled = read_at(&file.into(), &mut content.bytes_mut()[..length], offset).map_err(reason)?;
    Ok(Some(content.filled(filled)))
}

fn object(key: String, stat: &Stat) -> Result<KeyInfo, Reason> {
    match (u64::try_from(stat.st_size), timestamp(stat.st_mtime, stat.st_mtime_nsec)) {
        (Ok(size), Some(modified)) => {
            let at = file_dated(&key, modified);
            Ok(KeyInfo { key, size, at })
        }
        _ => {
            let cause = format!("file {} has an impossible size or time", super::checked::printable(&key));
            Err(Reason::new(ReasonKind::Corrupt, cause))
        }
    }
}

fn reason(error: impl Into<std::io::Error>) -> Reason {
    denied(error, "let the agent's user read the directory and the files in it")
}

/// The reason for a refusal of the filesystem, and what helps where a permission is missing.
pub(super) fn denied(error: impl Into<std::io::Error>, hint: &str) -> Reason {
    let reason = Reason::from(error.into());
    if reason.kind == ReasonKind::Denied { reason.with_hint(hint) } else { reason }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often a directory was read.
        pub(super) static PASSES: Cell<usize> = const { Cell::new(0) };
    }

    fn opened(path: &Path) -> OwnedFd {
        openat(CWD, path, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    /// Follows the pages; how many there are, their keys, and how often the directory was read for them.
    fn listed(root: &Path, prefix: &str, from: Option<&str>, bounds: Bounds) -> (usize, Vec<String>, usize) {
        let (before, mut pages, mut keys, mut rest) = (PASSES.get(), 0, Vec::new(), None);
        loop {
            let page = list(&opened(root), prefix, from, rest, bounds).unwrap();
            pages += 1;
            keys.extend(page.objects.into_iter().map(|object| object.key));
            let Some(cursor) = page.next else { return (pages, keys, PASSES.get() - before) };
            rest = cursor.get::<Rest>().cloned();
        }
    }

    #[tokio::test]
    async fn the_space_that_is_left_is_that_of_its_filesystem() {
        let directory = tempfile::tempdir().unwrap();
        let of = |root: PathBuf| DirectoryStore::new(root, true);
        let space = rustix::fs::statvfs(directory.path()).unwrap();
        let left = of(directory.path().to_owned()).space_left().await.unwrap();
        assert!(left.is_multiple_of(space.f_frsize) && left <= space.f_blocks * space.f_frsize, "{left}");
        assert_eq!(of(directory.path().join("none")).space_left().await, None);
    }

    #[test]
    fn a_small_replica_is_listed_at_once_and_a_large_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        for key in ["ltx/9/c", "ltx/0/b", "ltx/0/a", "ltx/beside", "ltx/0/below/d"] {
            std::fs::create_dir_all(root.path().join(key).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(key), key).unwrap();
        }
        std::os::unix::fs::symlink("9", root.path().join("beside")).unwrap();
        let keys = |prefix, most| {
            let page = all(&opened(root.path()), prefix, most).unwrap()?;
            Some(page.objects.into_iter().map(|object| object.key).collect::<Vec<_>>())
        };
        let of_folders = ["ltx/0/", "ltx/9/"].map(|prefix| listed(root.path(), prefix, None, BOUNDS).1).concat();
        assert_eq!(of_folders, ["ltx/0/a", "ltx/0/b", "ltx/9/c"]);
        assert_eq!(keys("ltx/", 3), Some(of_folders));
        assert_eq!((keys("ltx/", 2), keys("none/", 2)), (None, Some(Vec::new())));
    }

    /// Litestream follows them: what it would restore from behind them must not be overlooked.
    #[test]
    fn links_where_litestream_keeps_its_files_are_refused() {
        let message = |reason: Reason| reason.message.split(" is").next().map(str::to_owned);
        for link in ["ltx", "ltx/0", "ltx/0/a", "generations", "generations/0/wal", "0009"] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join(link);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink("/", path).unwrap();
            let root = opened(root.path());
            let refused = folders(&root, "").err().and_then(message);
            assert_eq!(refused.as_deref(), Some(link));
            let (folder, _) = link.rsplit_once('/').unwrap_or_default();
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            assert!(list(&root, &prefix, None, None, BOUNDS).is_err(), "{link}");
            assert!(names(&root, &[prefix], 9).is_err(), "{link}");
        }
    }

    #[test]
    fn a_hundred_thousand_files_are_read_once_for_all_their_pages() {
        let root = tempfile::tempdir().unwrap();
        let level = root.path().join("ltx/0");
        std::fs::create_dir_all(&level).unwrap();
        let name = |txid: usize| format!("{txid:016x}-{txid:016x}.ltx");
        let first = level.join(name(1));
        std::fs::write(&first, "x").unwrap();
        // Links to a few files: an inode has a bounded number of them.
        for txid in 2..=100_000 {
            if txid % 10_000 == 0 {
                std::fs::write(level.join(name(txid)), "x").unwrap();
            } else {
                let source = if txid < 10_000 { first.clone() } else { level.join(name(txid / 10_000 * 10_000)) };
                std::fs::hard_link(source, level.join(name(txid))).unwrap();
            }
        }
        let bounds = Bounds { page: 1000, ..BOUNDS };
        let (pages, keys, passes) = listed(root.path(), "ltx/0/", None, bounds);
        assert_eq!((pages, keys.len(), passes), (100, 100_000, 1));
        assert!(keys.is_sorted() && keys[0] == format!("ltx/0/{}", name(1)));
        let from = format!("ltx/0/{}", name(99_990));
        let (pages, keys, passes) = listed(root.path(), "ltx/0/", Some(&from), bounds);
        assert_eq!((pages, keys.len(), passes, &keys[0]), (1, 11, 1, &from));
        // Of more than are kept at once, each such part takes one reading.
        let (pages, keys, passes) = listed(root.path(), "ltx/0/", None, Bounds { names: 30_000, ..bounds });
        assert_eq!((pages, keys.len(), passes), (100, 100_000, 4));
    }

    #[test]
    fn what_is_not_a_file_with_a_name_is_not_listed_and_not_read() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("directory")).unwrap();
        rustix::fs::mkfifoat(CWD, root.path().join("fifo"), Mode::RUSR).unwrap();
        std::fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"\xff.ltx")), "").unwrap();
        std::fs::write(root.path().join("two\nlines"), "2").unwrap();

        assert_eq!(listed(root.path(), "", None, BOUNDS).1, ["two\nlines"]);
        let named = |prefixes: &[&str], most| {
            let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
            names(&opened(root.path()), &prefixes, most).unwrap()
        };
        assert_eq!(named(&["", "directory/", "none/"], 1), Some(vec!["two\nlines".to_owned()]));
        assert_eq!(named(&[""], 0), None);
        assert_eq!(listed(root.path(), "directory/", None, BOUNDS).1, [""; 0]);
        assert_eq!(folders(&opened(root.path()), "").unwrap(), [""; 0]);
        let outside = format!("../{}/secret", outside.path().file_name().unwrap().to_str().unwrap());
        for key in
            ["link", "directory/secret", "fifo", "", ".", "..", "a//b", "/etc/passwd", &outside, &"n".repeat(300)]
        {
            assert_eq!(read(&opened(root.path()), key, 0, 10, &Buffers::default()).unwrap(), None, "{key}");
        }
    }
}
