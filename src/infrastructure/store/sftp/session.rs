//! An SFTP session: requests with their deadlines and bounds, handles that are always closed, and whether it still works.

use std::cmp::Ordering as Order;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, Handle, OpenFlags, StatusCode};

use super::connect::Ssh;
use super::failure;
use crate::domain::limits::SFTP_ENTRIES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::scrub::Scrub;
use crate::infrastructure::store::checked::corrupt;

/// Bytes of one request, which every server has to give at once, and how many requests are under way for one read.
const PIECE_BYTES: u32 = 32 << 10;
const PIECES_AT_ONCE: usize = 32;

/// The bits of a mode that say what it is of.
const TYPE_BITS: u32 = 0o170_000;

type Answer<T> = Result<T, Error>;

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FileKind {
    File,
    Directory,
    /// A link, which is not followed, and whatever else.
    Other,
    /// The server does not say.
    Unknown,
}

/// An entry of a directory, ordered by its name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: FileKind,
    pub(super) size: Option<u64>,
    /// Seconds since 1970.
    pub(super) modified: Option<u32>,
}

impl Entry {
    fn new(name: String, attributes: &FileAttributes) -> Self {
        let kind = match attributes.permissions.map(|mode| mode & TYPE_BITS) {
            Some(0o100_000) => FileKind::File,
            Some(0o040_000) => FileKind::Directory,
            Some(0) | None => FileKind::Unknown,
            Some(_) => FileKind::Other,
        };
        Self { name, kind, size: attributes.size, modified: attributes.mtime }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Order {
        self.name.cmp(&other.name)
    }
}

/// One session over one connection.
pub(super) struct Session {
    pub(super) raw: Arc<RawSftpSession>,
    ssh: Ssh,
    /// How long one request may take.
    patience: Duration,
    /// A request had no answer, or the server has lost its own connection.
    broken: AtomicBool,
    scrub: Scrub,
}

impl Session {
    pub(super) fn new(raw: RawSftpSession, ssh: Ssh, patience: Duration, scrub: Scrub) -> Self {
        // Ours is over before, and a request that nobody waits for any more ends as well.
        raw.set_timeout(patience.as_secs() + 2);
        Self { raw: Arc::new(raw), ssh, patience, broken: AtomicBool::new(false), scrub }
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.ssh.is_closed()
    }

    /// The answer to one request; `Err` of `Ok`: it was refused with a status.
    async fn answer<T>(&self, request: impl Future<Output = Answer<T>>) -> Result<Result<T, Refused>, Reason> {
        let answer = tokio::time::timeout(self.patience, request).await.unwrap_or(Err(Error::Timeout));
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(Error::Status(status)) => {
                if matches!(status.status_code, StatusCode::NoConnection | StatusCode::ConnectionLost) {
                    self.broken.store(true, Ordering::Relaxed);
                }
                let reason = failure::refused(&status, &self.scrub);
                Ok(Err(Refused { code: status.status_code, reason }))
            }
            Err(error) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(failure::broken(&error, self.patience))
            }
        }
    }

    /// The answer to a request that has to succeed.
    pub(super) async fn ask<T>(&self, request: impl Future<Output = Answer<T>>) -> Result<T, Reason> {
        self.answer(request).await?.map_err(|refused| refused.reason)
    }

    /// The same; `None`: what it is about is not there.
    pub(super) async fn find<T>(&self, request: impl Future<Output = Answer<T>>) -> Result<Option<T>, Reason> {
        match self.answer(request).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(refused) if refused.code == StatusCode::NoSuchFile => Ok(None),
            Err(refused) => Err(refused.reason),
        }
    }

    /// The same; `None`: there is no more.
    async fn next<T>(&self, request: impl Future<Output = Answer<T>>) -> Result<Option<T>, Reason> {
        match self.answer(request).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(refused) if refused.code == StatusCode::Eof => Ok(None),
            Err(refused) => Err(refused.reason),
        }
    }

    /// What is at a path; a link is a link.
    pub(super) async fn look(&self, path: &str) -> Result<Option<Entry>, Reason> {
        let found = self.find(self.raw.lstat(path)).await?;
        Ok(found.map(|found| Entry::new(String::new(), &found.attrs)))
    }

    /// All of these are directories, and no link among them.
    pub(super) async fn are_directories(&self, paths: &[String]) -> Result<bool, Reason> {
        let looks = paths.iter().map(|path| self.look(path));
        let found = futures_util::future::try_join_all(looks).await?;
        Ok(found.iter().all(|found| found.as_ref().is_some_and(|entry| entry.kind == FileKind::Directory)))
    }

    /// There is a directory at a path, or a link that leads to one.
    pub(super) async fn leads_to_directory(&self, path: &str) -> Result<bool, Reason> {
        let found = self.find(self.raw.stat(path)).await?;
        Ok(found.is_some_and(|found| Entry::new(String::new(), &found.attrs).kind == FileKind::Directory))
    }

    /// Gives the entries of a directory, in the order in which they come; `false`: it is not there.
    pub(super) async fn entries(
        &self,
        path: &str,
        mut each: impl FnMut(Entry) -> Result<ControlFlow<()>, Reason>,
    ) -> Result<bool, Reason> {
        let path = path.to_owned();
        let request = |raw: Arc<RawSftpSession>| async move { raw.opendir(path).await };
        let Some(directory) = self.find(opened(self.raw.clone(), request)).await? else { return Ok(false) };
        let mut seen = 0;
        while let Some(page) = self.next(self.raw.readdir(&*directory.handle)).await? {
            seen += page.files.len();
            if page.files.is_empty() {
                return Err(corrupt("a directory listing that neither continues nor ends".to_owned()));
            }
            if seen > SFTP_ENTRIES_MAX {
                let cause = format!("a directory of more than {SFTP_ENTRIES_MAX} entries");
                return Err(Reason::new(ReasonKind::Unsupported, cause));
            }
            for file in page.files {
                if each(Entry::new(file.filename, &file.attrs))?.is_break() {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// At most `length` bytes of a file; `None`: it is not there.
    pub(super) async fn content(&self, path: &str, offset: u64, length: u64) -> Result<Option<Vec<u8>>, Reason> {
        let path = path.to_owned();
        let request =
            |raw: Arc<RawSftpSession>| async move { raw.open(path, OpenFlags::READ, FileAttributes::empty()).await };
        let Some(file) = self.find(opened(self.raw.clone(), request)).await? else { return Ok(None) };
        let (file, step) = (&file, u64::from(PIECE_BYTES));
        let pieces = (0..length.div_ceil(step)).map(|piece| {
            let start = piece * step;
            // At most a piece.
            self.piece(file, offset.saturating_add(start), (length - start).min(step) as u32)
        });
        let mut pieces = stream::iter(pieces).buffered(PIECES_AT_ONCE);
        let mut content = Vec::new();
        let mut asked = 0;
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece?);
            asked = (asked + step).min(length);
            if (content.len() as u64) < asked {
                break;
            }
        }
        Ok(Some(content))
    }

    /// A part of a file; shorter only where the file ends.
    async fn piece(&self, file: &Opened, offset: u64, length: u32) -> Result<Vec<u8>, Reason> {
        let mut content = Vec::new();
        while content.len() < length as usize {
            let left = length - content.len() as u32;
            let request = self.raw.read(&*file.handle, offset.saturating_add(content.len() as u64), left);
            match self.next(request).await? {
                Some(data) if data.data.len() > left as usize => {
                    return Err(corrupt(format!("{} bytes where {left} were asked for", data.data.len())));
                }
                Some(data) if !data.data.is_empty() => content.extend_from_slice(&data.data),
                _ => break,
            }
        }
        Ok(content)
    }
}

/// A request that the server refused.
struct Refused {
    code: StatusCode,
    reason: Reason,
}

/// An open file or directory, which is closed when it is dropped.
pub(super) struct Opened {
    raw: Arc<RawSftpSession>,
    pub(super) handle: String,
}

impl Opened {
    /// Closes it, and waits until that is done.
    pub(super) async fn close(mut self) -> Answer<()> {
        let handle = std::mem::take(&mut self.handle);
        self.raw.close(handle).await.map(drop)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let (raw, handle) = (self.raw.clone(), std::mem::take(&mut self.handle));
        if handle.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(raw.close(handle).await) });
        }
    }
}

/// Opens something. Who does not wait for the answer leaves nothing open: it is closed when the answer comes.
pub(super) async fn opened<F>(
    raw: Arc<RawSftpSession>,
    request: impl FnOnce(Arc<RawSftpSession>) -> F,
) -> Answer<Opened>
where
    F: Future<Output = Answer<Handle>> + Send + 'static,
{
    let request = request(raw.clone());
    let opening = tokio::spawn(async move { Ok(Opened { handle: request.await?.handle, raw }) });
    opening.await.unwrap_or_else(|failed| Err(Error::UnexpectedBehavior(failed.to_string())))
}
