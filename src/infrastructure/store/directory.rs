//! A replica in a plain directory. Reads only: descriptors are opened read-only, name by name below the root, and a
//! symbolic link below the root is never followed, so no key leads outside.

use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::beacon::DirectoryBeacon;
use super::{Kind, unsupported};
use crate::domain::limits::{
    DIRECTORY_DEPTH_MAX, DIRECTORY_READS_MAX, KEY_BYTES_MAX, LIST_PAGE_KEYS_MAX, READ_BYTES_MAX,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::ReplicaLocation;
use crate::usecase::ports::{ListPage, ObjectInfo, ReplicaStore};

/// What every descriptor is opened with. `NONBLOCK`: opening a FIFO that someone put there must not hang.
const OPEN_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

pub(super) const KIND: Kind = Kind {
    name: "file",
    open: |location, _| Ok(Box::new(DirectoryStore::new(root(location)?))),
    beacon: |location, _| Ok(Box::new(DirectoryBeacon::new(&root(location)?))),
    bucket: |_, _, _| None,
    // A filesystem does not say what time it takes it to be.
    clock_offset: |_| None,
};

fn root(location: &ReplicaLocation) -> Result<PathBuf, Reason> {
    location.directory().map(Path::to_owned).ok_or_else(|| unsupported(location))
}

/// A directory as a replica.
pub(super) struct DirectoryStore {
    root: PathBuf,
    /// One listing at a time, and few reads: a directory on a dead network mount keeps these threads, not one more with
    /// each attempt.
    listing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

impl DirectoryStore {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, listing: Arc::new(Semaphore::new(1)), reading: Arc::new(Semaphore::new(DIRECTORY_READS_MAX)) }
    }

    /// Runs `work` with the opened root where blocking is allowed.
    async fn with_root<T: Send + 'static>(
        &self,
        busy: &Arc<Semaphore>,
        work: impl FnOnce(OwnedFd) -> Result<T, Reason> + Send + 'static,
    ) -> Result<T, Reason> {
        let stopped = |_| Reason::new(ReasonKind::Failed, "the reading thread stopped");
        let permit = busy.clone().acquire_owned().await.map_err(|error| stopped(error.to_string()))?;
        let root = self.root.clone();
        let work = move || {
            let _permit = permit;
            // The root itself is the user's choice and may be a link.
            work(openat(CWD, &root, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty()).map_err(reason)?)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| stopped(error.to_string()))?
    }
}

#[async_trait]
impl ReplicaStore for DirectoryStore {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ListPage, Reason> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.with_root(&self.listing, move |root| list(root, &prefix, after, LIST_PAGE_KEYS_MAX)).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        let prefix = prefix.to_owned();
        self.with_root(&self.listing, move |root| folders(root, &prefix)).await
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, Reason> {
        let key = key.to_owned();
        self.with_root(&self.reading, move |root| read(root, &key, offset, length)).await
    }
}

/// One page: the `page_keys` smallest keys after `after`. Every page reads the directory once; only the files of the
/// page are asked for their size.
fn list(root: OwnedFd, prefix: &str, after: Option<String>, page_keys: usize) -> Result<ListPage, Reason> {
    let Some(directory) = descend(root, prefix)? else { return Ok(ListPage::default()) };
    let mut after = after;
    loop {
        let mut page = Page { after, page_keys, keys: BinaryHeap::new(), more: false };
        page.walk(&directory, prefix, 0)?;
        let Page { keys, more, .. } = page;
        let keys = keys.into_sorted_vec();
        let last = keys.last().cloned();
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            let path = &key[prefix.len()..];
            // Gone, or no longer a file, since the directory was read.
            if let Some(stat) = look(&directory, path)?
                && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            {
                objects.push(object(key, &stat)?);
            }
        }
        if !objects.is_empty() || !more {
            return Ok(ListPage { objects, more });
        }
        after = last;
    }
}

/// The smallest keys found so far, the largest on top.
struct Page {
    after: Option<String>,
    page_keys: usize,
    keys: BinaryHeap<String>,
    more: bool,
}

impl Page {
    /// Adds what is below `directory`, whose keys start with `prefix`.
    fn walk(&mut self, directory: &OwnedFd, prefix: &str, depth: usize) -> Result<(), Reason> {
        if depth > DIRECTORY_DEPTH_MAX || prefix.len() > KEY_BYTES_MAX {
            let cause = format!("directories are nested deeper than {DIRECTORY_DEPTH_MAX}");
            return Err(Reason::new(ReasonKind::Unsupported, cause));
        }
        for entry in Dir::read_from(directory).map_err(reason)? {
            let Some((name, kind)) = named(directory, &entry.map_err(reason)?)? else { continue };
            match kind {
                FileType::RegularFile => self.offer(format!("{prefix}{name}")),
                FileType::Directory => {
                    let below = format!("{prefix}{name}/");
                    if !self.skips(&below)
                        && let Some(directory) = enter(directory, &name)?
                    {
                        self.walk(&directory, &below, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn offer(&mut self, key: String) {
        if self.after.as_ref().is_some_and(|after| key <= *after) {
            return;
        }
        if self.keys.len() < self.page_keys {
            self.keys.push(key);
            return;
        }
        self.more = true;
        if let Some(mut largest) = self.keys.peek_mut()
            && key < *largest
        {
            *largest = key;
        }
    }

    /// All keys that start with `below` come before the page.
    fn skips(&self, below: &str) -> bool {
        self.after.as_deref().is_some_and(|after| after > below && !after.starts_with(below))
    }
}

fn folders(root: OwnedFd, prefix: &str) -> Result<Vec<String>, Reason> {
    let Some(directory) = descend(root, prefix)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory).map_err(reason)? {
        if let Some((name, FileType::Directory)) = named(&directory, &entry.map_err(reason)?)?
            && let Some(below) = enter(&directory, &name)?
            && holds_files(&below, 0)?
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// There is a file below `directory`, as a bucket has no folder without one.
fn holds_files(directory: &OwnedFd, depth: usize) -> Result<bool, Reason> {
    for entry in Dir::read_from(directory).map_err(reason)? {
        match named(directory, &entry.map_err(reason)?)? {
            Some((_, FileType::RegularFile)) => return Ok(true),
            Some((name, FileType::Directory)) if depth < DIRECTORY_DEPTH_MAX => {
                if let Some(below) = enter(directory, &name)?
                    && holds_files(&below, depth + 1)?
                {
                    return Ok(true);
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

fn read(root: OwnedFd, key: &str, offset: u64, length: u64) -> Result<Bytes, Reason> {
    let missing = || Reason::new(ReasonKind::NotFound, "no such file");
    let (parent, name) = key.rsplit_once('/').map_or(("", key), |(parent, name)| (parent, name));
    let directory = if parent.is_empty() { Some(root) } else { descend(root, &format!("{parent}/"))? };
    let directory = directory.filter(|_| is_name(name)).ok_or_else(missing)?;
    let file = match openat(&directory, name, OPEN_FLAGS | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO) => return Err(missing()),
        file => file.map_err(reason)?,
    };
    let stat = fstat(&file).map_err(reason)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(missing());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let length = length.min(size.saturating_sub(offset)).min(READ_BYTES_MAX);
    let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while filled < content.len() {
        match rustix::io::pread(&file, &mut content[filled..], offset + filled as u64) {
            Err(Errno::INTR) => {}
            // The file was cut since it was asked for its size.
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) => return Err(reason(error)),
        }
    }
    content.truncate(filled);
    Ok(content.into())
}

/// Opens the directory that a prefix names, component by component; `None` when it is not there.
fn descend(root: OwnedFd, prefix: &str) -> Result<Option<OwnedFd>, Reason> {
    let mut directory = root;
    for name in prefix.split_terminator('/') {
        if !is_name(name) {
            return Ok(None);
        }
        match enter(&directory, name)? {
            Some(below) => directory = below,
            None => return Ok(None),
        }
    }
    Ok(Some(directory))
}

/// Opens a directory in a directory; `None` when there is none by that name, or a link.
fn enter(directory: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Reason> {
    match openat(directory, name, OPEN_FLAGS | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(below) => Ok(Some(below)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(reason(error)),
    }
}

/// Size and time of a file below a directory, by a path that [`Page::walk`] made of names.
fn look(directory: &OwnedFd, path: &str) -> Result<Option<Stat>, Reason> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stat = if parent.is_empty() {
        statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
    } else {
        let below = openat(directory, ".", OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty()).map_err(reason)?;
        let Some(below) = descend(below, &format!("{parent}/"))? else { return Ok(None) };
        statat(&below, name, AtFlags::SYMLINK_NOFOLLOW)
    };
    match stat {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(reason(error)),
    }
}

/// Name and type of an entry; `None` for `.`, `..`, names that are not UTF-8 and entries that are gone.
fn named(directory: &OwnedFd, entry: &DirEntry) -> Result<Option<(String, FileType)>, Reason> {
    let Some(name) = entry.file_name().to_str().ok().filter(|name| is_name(name)) else { return Ok(None) };
    let kind = match entry.file_type() {
        // Some filesystems do not say.
        FileType::Unknown => match look(directory, name)? {
            Some(stat) => FileType::from_raw_mode(stat.st_mode),
            None => return Ok(None),
        },
        kind => kind,
    };
    Ok(Some((name.to_owned(), kind)))
}

fn is_name(component: &str) -> bool {
    !matches!(component, "" | "." | "..") && !component.contains(['/', '\0'])
}

fn object(key: String, stat: &Stat) -> Result<ObjectInfo, Reason> {
    let size = u64::try_from(stat.st_size);
    let nanoseconds = i32::try_from(stat.st_mtime_nsec);
    let modified = nanoseconds.ok().and_then(|nanoseconds| Timestamp::new(stat.st_mtime, nanoseconds).ok());
    match (size, modified) {
        (Ok(size), Some(modified)) => Ok(ObjectInfo { key, size, modified }),
        _ => {
            let cause = format!("file {} has an impossible size or time", super::checked::printable(&key));
            Err(Reason::new(ReasonKind::Corrupt, cause))
        }
    }
}

fn reason(error: Errno) -> Reason {
    let reason = Reason::from(std::io::Error::from(error));
    match reason.kind {
        ReasonKind::Denied => reason.with_hint("let the agent's user read the directory and the files in it"),
        _ => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &std::path::Path) -> OwnedFd {
        openat(CWD, path, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    /// Follows the pages and returns the keys of each.
    fn pages(root: &std::path::Path, prefix: &str, page_keys: usize) -> Vec<Vec<String>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = list(opened(root), prefix, after, page_keys).unwrap();
            pages.push(page.objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>());
            after = page.objects.last().map(|object| object.key.clone());
            if !page.more {
                return pages;
            }
        }
    }

    #[test]
    fn pages_are_the_smallest_keys_in_byte_order_across_directories() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a/x", "a/y", "a-b", "a/z/deep", "b", "Z"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let all = ["Z", "a-b", "a/x", "a/y", "a/z/deep", "b"];
        assert_eq!(pages(root.path(), "", 100), [all.to_vec()]);
        assert_eq!(pages(root.path(), "", 1), all.map(|key| vec![key.to_owned()]));
        assert_eq!(pages(root.path(), "", 2), [["Z", "a-b"], ["a/x", "a/y"], ["a/z/deep", "b"]]);
        assert_eq!(pages(root.path(), "a/", 2), [vec!["a/x", "a/y"], vec!["a/z/deep"]]);
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

        assert_eq!(pages(root.path(), "", 10), [["two\nlines"]]);
        assert_eq!(pages(root.path(), "directory/", 10), [[""; 0]]);
        assert_eq!(folders(opened(root.path()), "").unwrap(), [""; 0]);
        let outside = format!("../{}/secret", outside.path().file_name().unwrap().to_str().unwrap());
        for key in
            ["link", "directory/secret", "fifo", "", ".", "..", "a//b", "/etc/passwd", &outside, &"n".repeat(300)]
        {
            assert_eq!(read(opened(root.path()), key, 0, 10).unwrap_err().kind, ReasonKind::NotFound, "{key}");
        }
    }

    #[test]
    fn a_million_files_are_walked_with_a_bounded_heap() {
        let mut page =
            Page { after: Some("0000500000".to_owned()), page_keys: 3, keys: BinaryHeap::new(), more: false };
        for number in (0..1_000_000).rev() {
            page.offer(format!("{number:010}"));
            assert!(page.keys.len() <= 3);
        }
        assert!(page.more);
        assert_eq!(page.keys.into_sorted_vec(), ["0000500001", "0000500002", "0000500003"]);
    }
}
