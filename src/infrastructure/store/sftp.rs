//! A replica in a directory that is reached through SSH. Links below its root are never followed.
//!
//! SFTP has neither pages nor an order: a directory is read as a whole for each page, of which the smallest names are kept.
//! Litestream joins names to the path as Go's `path.Join` does, and so does this.

mod beacon;
mod connect;
mod failure;
mod link;
mod session;

use std::collections::BinaryHeap;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::checked::{corrupt, printable};
use super::keys::{FolderPage, KeyInfo, KeyPage, KeyStore, file_dated};
use super::kind::{Kind, Shared, unsupported};
use crate::domain::limits::{
    ANSWER_BYTES_MAX, DIRECTORY_DEPTH_MAX, FOLDERS_MAX, KEY_BYTES_MAX, LIST_PAGE_KEYS_MAX, READ_BYTES_MAX,
    SFTP_ENTERED_MAX,
};
use crate::domain::places::SftpLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::usecase::ports::{Content, Cursor};
use link::{Link, Links};
use session::{Entry, FileKind, Session};

pub(super) const KIND: Kind = Kind {
    whole: true,
    open: |location, shared| open(location, shared, true),
    // Of a place with many replicas it is more likely that it is not mounted, or is called otherwise.
    shelf: |location, shared| open(location, shared, false),
    beacon: |location, shared| {
        let (link, root) = place(location, shared)?;
        Ok(Box::new(beacon::SftpBeacon::new(link, &root)))
    },
    ..Kind::plain(StoreKind::Sftp)
};

fn open(location: &ReplicaLocation, shared: &Shared, may_be_gone: bool) -> Result<Box<dyn KeyStore>, Reason> {
    let (link, root) = place(location, shared)?;
    Ok(Box::new(SftpStore { link, root: Root { may_be_gone, ..root } }))
}

/// The connection and the root of a replica.
fn place(location: &ReplicaLocation, shared: &Shared) -> Result<(Arc<Link>, Root), Reason> {
    let place: &SftpLocation = location.sftp().ok_or_else(|| unsupported(location))?;
    let links = shared.of(|options| Links::new(options.timeout));
    let link = links.link(place).map_err(|reason| reason.context(format_args!("open {}", location.url())))?;
    Ok((link, Root::new(&place.path)))
}

/// A directory of an SFTP server as a replica.
struct SftpStore {
    link: Arc<Link>,
    root: Root,
}

#[async_trait]
impl KeyStore for SftpStore {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        // The cursor is the last name of the page before.
        let after = cursor.and_then(|cursor| cursor.get::<String>());
        let bound = match after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => from.and_then(|from| from.strip_prefix(prefix)).map_or(Bound::Unbounded, Bound::Included),
        };
        let root = &self.root;
        self.link.run(move |session| async move { list(&session, root, prefix, bound).await }).await
    }

    async fn folders(&self, prefix: &str, _: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let root = &self.root;
        self.link.run(move |session| async move { folders(&session, root, prefix).await }).await.map(FolderPage::from)
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let root = &self.root;
        self.link.run(move |session| async move { read(&session, root, key, offset, length).await }).await
    }
}

/// Where keys are on the server.
#[derive(Clone, Debug, PartialEq)]
struct Root {
    base: String,
    /// Where it is missing, it is empty.
    may_be_gone: bool,
}

impl Root {
    /// Without empty and dot components. A path that does not begin with a slash begins where the user logs in.
    fn new(path: &str) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." if names.last().is_some_and(|name| *name != "..") => drop(names.pop()),
                ".." if path.starts_with('/') => {}
                name => names.push(name),
            }
        }
        let slash = if path.starts_with('/') { "/" } else { "" };
        Self { base: format!("{slash}{}", names.join("/")), may_be_gone: false }
    }

    /// The directory itself.
    fn directory(&self) -> &str {
        if self.base.is_empty() { "." } else { &self.base }
    }

    /// The path of a key, or of a folder.
    fn path(&self, key: &str) -> String {
        match (self.base.as_str(), key.trim_end_matches('/')) {
            (_, "") => self.directory().to_owned(),
            ("", key) => key.to_owned(),
            ("/", key) => format!("/{key}"),
            (root, key) => format!("{root}/{key}"),
        }
    }

    /// The paths of all directories that a prefix names below the root, from there on.
    fn steps(&self, prefix: &str) -> Vec<String> {
        let ends = prefix.match_indices('/').map(|(end, _)| end);
        ends.map(|end| self.path(&prefix[..end])).collect()
    }
}

/// One page: the smallest names from the bound on.
async fn list(session: &Arc<Session>, root: &Root, prefix: &str, bound: Bound<&str>) -> Result<KeyPage, Reason> {
    if !is_there(session, root, prefix).await? {
        return Ok(KeyPage::default());
    }
    let (mut files, mut unsure, mut more) = (Smallest::default(), Names::default(), false);
    let path = root.path(prefix);
    let there = session
        .entries(&path, |entry| {
            if is_name(&entry.name)? && RangeBounds::<str>::contains(&(bound, Bound::Unbounded), entry.name.as_str()) {
                match entry.kind {
                    FileKind::File if entry.size.is_some() && entry.modified.is_some() => more |= files.push(entry),
                    // A server need not say.
                    FileKind::Unknown | FileKind::File => {
                        if !unsure.push(entry.name, LIST_PAGE_KEYS_MAX) {
                            return Err(corrupt("a directory of entries without type".into()));
                        }
                    }
                    FileKind::Directory | FileKind::Other => {}
                }
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    if !there {
        return Ok(KeyPage::default());
    }
    for name in unsure.names {
        if let Some(entry) = session.look(&format!("{path}/{name}")).await?.filter(|entry| entry.kind == FileKind::File)
        {
            more |= files.push(Entry { name, ..entry });
        }
    }
    let files = files.ascending();
    let next = files.last().filter(|_| more).map(|last| Cursor::new(last.name.clone()));
    let objects = files.into_iter().map(|file| object(prefix, file)).collect::<Result<_, _>>()?;
    Ok(KeyPage { objects, next })
}

/// The names directly below `prefix` of directories in which there is a file, as a bucket has no folder without one.
async fn folders(session: &Arc<Session>, root: &Root, prefix: &str) -> Result<Vec<String>, Reason> {
    if !is_there(session, root, prefix).await? {
        return Ok(Vec::new());
    }
    let mut names = Names::default();
    let path = root.path(prefix);
    let there = session
        .entries(&path, |entry| {
            let is_folder = matches!(entry.kind, FileKind::Directory | FileKind::Unknown) && is_name(&entry.name)?;
            match is_folder && !names.push(entry.name, FOLDERS_MAX) {
                true => {
                    Err(corrupt(format!("more than {FOLDERS_MAX} folders, or {ANSWER_BYTES_MAX} bytes of their names")))
                }
                false => Ok(ControlFlow::Continue(())),
            }
        })
        .await?;
    if !there {
        check_root(session, root).await?;
    }
    let (mut holding, mut entered) = (Vec::new(), 0);
    for name in names.names {
        if holds_files(session, root.path(&format!("{prefix}{name}")), &mut entered).await? {
            holding.push(name);
        }
    }
    Ok(holding)
}

/// There is a file below a directory. Where that would take too long to find out, and where it may not be read, there may be.
async fn holds_files(session: &Arc<Session>, path: String, entered: &mut usize) -> Result<bool, Reason> {
    let mut waiting = vec![(path, 0)];
    while let Some((path, depth)) = waiting.pop() {
        *entered += 1;
        if *entered > SFTP_ENTERED_MAX || depth > DIRECTORY_DEPTH_MAX {
            return Ok(true);
        }
        // The entry of a server that does not say, or a link that came in the directory's place.
        if session.look(&path).await?.is_none_or(|entry| entry.kind != FileKind::Directory) {
            continue;
        }
        let (mut found, mut below) = (false, Vec::new());
        let read = session.entries(&path, |entry| {
            found = entry.kind == FileKind::File;
            if entry.kind == FileKind::Directory && is_name(&entry.name)? && below.len() < SFTP_ENTERED_MAX {
                below.push((format!("{path}/{}", entry.name), depth + 1));
            }
            Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        match read.await {
            Err(reason) if reason.kind == ReasonKind::Denied => return Ok(true),
            read => drop(read?),
        }
        if found {
            return Ok(true);
        }
        waiting.extend(below);
    }
    Ok(false)
}

async fn read(session: &Arc<Session>, root: &Root, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
    let parent = key.rfind('/').map_or("", |end| &key[..=end]);
    let (steps, path) = (root.steps(parent), root.path(key));
    let (directories, file) = tokio::try_join!(session.are_directories(&steps), session.look(&path))?;
    let file = file.filter(|file| directories && matches!(file.kind, FileKind::File | FileKind::Unknown));
    let content = match file {
        None => None,
        Some(file) => {
            let length = length.min(READ_BYTES_MAX).min(file.size.map_or(u64::MAX, |size| size.saturating_sub(offset)));
            if length == 0 { Some(Vec::new()) } else { session.content(&path, offset, length).await? }
        }
    };
    match content {
        Some(content) => Ok(Content::There(content.into())),
        None => {
            check_root(session, root).await?;
            Ok(Content::Missing(Reason::new(ReasonKind::NotFound, "no such file")))
        }
    }
}

/// The directory that a prefix names is there, and no link leads to it; when it is not, the root is.
async fn is_there(session: &Arc<Session>, root: &Root, prefix: &str) -> Result<bool, Reason> {
    let there = session.are_directories(&root.steps(prefix)).await?;
    if !there {
        check_root(session, root).await?;
    }
    Ok(there)
}

/// The root itself is the user's choice and may be a link.
async fn check_root(session: &Arc<Session>, root: &Root) -> Result<(), Reason> {
    match session.leads_to_directory(root.directory()).await? || root.may_be_gone && is_gone(session, root).await? {
        true => Ok(()),
        false => Err(failure::no_directory()),
    }
}

/// Whether the lowest directory above that is there shows that there is nothing by this name, as a bucket shows nothing below a
/// prefix. Where a link on the way leads nowhere, something was meant to be there.
async fn is_gone(session: &Arc<Session>, root: &Root) -> Result<bool, Reason> {
    let mut path = root.directory();
    while session.look(path).await?.is_none() {
        path = match path.rsplit_once('/') {
            Some(("", "")) => return Ok(false),
            Some(("", _)) => "/",
            Some((above, _)) => above,
            None if path == "." => return Ok(false),
            None => ".",
        };
    }
    Ok(path != root.directory() && session.leads_to_directory(path).await?)
}

/// An entry that has a name as files have them, in UTF-8; the others are nobody's keys.
fn is_name(name: &str) -> Result<bool, Reason> {
    if name.len() > KEY_BYTES_MAX {
        return Err(corrupt(format!("a name of {} bytes", name.len())));
    }
    Ok(!matches!(name, "" | "." | "..") && !name.contains(['/', '\0', char::REPLACEMENT_CHARACTER]))
}

fn object(prefix: &str, file: Entry) -> Result<KeyInfo, Reason> {
    let key = format!("{prefix}{}", file.name);
    let modified = file.modified.and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok());
    match (file.size, modified) {
        (Some(size), Some(modified)) => {
            let at = file_dated(&key, modified);
            Ok(KeyInfo { key, size, at })
        }
        _ => Err(corrupt(format!("file {} has no size or no time", printable(&key)))),
    }
}

/// Names in any order, with no more bytes than an answer may have.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    bytes: usize,
}

impl Names {
    /// Whether there are no more than there may be.
    fn push(&mut self, name: String, most: usize) -> bool {
        self.bytes += name.len();
        self.names.push(name);
        self.names.len() <= most && self.bytes <= ANSWER_BYTES_MAX
    }
}

/// As many files as make a page, and no more bytes of names than an answer may have.
#[derive(Default)]
struct Smallest {
    files: BinaryHeap<Entry>,
    bytes: usize,
}

impl Smallest {
    /// Whether one had to go.
    fn push(&mut self, file: Entry) -> bool {
        self.bytes += file.name.len();
        self.files.push(file);
        let mut gone = false;
        while self.files.len() > LIST_PAGE_KEYS_MAX || (self.bytes > ANSWER_BYTES_MAX && self.files.len() > 1) {
            self.bytes -= self.files.pop().map_or(0, |file| file.name.len());
            gone = true;
        }
        gone
    }

    /// A server that renames while it is read may name one twice.
    fn ascending(self) -> Vec<Entry> {
        let mut files = self.files.into_sorted_vec();
        files.dedup_by(|one, other| one.name == other.name);
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_as_litestream_joins_them() {
        for (path, directory, file) in [
            ("/srv/app", "/srv/app", "/srv/app/ltx/0/x"),
            ("/srv//app/", "/srv/app", "/srv/app/ltx/0/x"),
            ("/a/./b/../c", "/a/c", "/a/c/ltx/0/x"),
            ("app", "app", "app/ltx/0/x"),
            ("", ".", "ltx/0/x"),
            (".", ".", "ltx/0/x"),
            ("/", "/", "/ltx/0/x"),
            ("/../a", "/a", "/a/ltx/0/x"),
            ("../../a", "../../a", "../../a/ltx/0/x"),
        ] {
            let root = Root::new(path);
            assert_eq!((root.directory(), &*root.path("ltx/0/x")), (directory, file), "{path}");
        }
        assert_eq!(Root::new("/a").steps("ltx/0/"), ["/a/ltx", "/a/ltx/0"]);
        assert_eq!(Root::new("/a").steps(""), [""; 0]);
    }

    #[test]
    fn a_page_holds_the_smallest_names_within_its_bounds() {
        let name = |number: usize| format!("{number:0>4000}");
        let mut smallest = Smallest::default();
        let gone = (0..5000).rev().filter(|number| {
            let kind = FileKind::File;
            smallest.push(Entry { name: name(*number), kind, size: Some(1), modified: Some(1) })
        });
        assert!(gone.count() > 0);
        let kept = smallest.ascending();
        assert!(kept.len() * 4000 <= ANSWER_BYTES_MAX && kept.len() > 4000);
        assert_eq!((&*kept[0].name, &*kept[4000].name), (&*name(0), &*name(4000)));
    }
}
