//! The beacon beside a replica on an SFTP server: the only file that is written there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::link::Link;
use super::session::{FileKind, Session, opened};
use super::{Root, corrupt};
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// Puts a file in the place of another one at once; SFTP's own request does not.
const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// What a write sends at once, which every server has to take.
const WRITE_BYTES: usize = 32 << 10;

/// The place of one beacon.
pub(super) struct SftpBeacon {
    link: Arc<Link>,
    directory: String,
    file: String,
}

impl SftpBeacon {
    pub(super) fn new(link: Arc<Link>, root: &Root) -> Self {
        let file = format!("{}{SUFFIX}", root.base);
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        Self { link, directory, file }
    }
}

#[async_trait]
impl BeaconStore for SftpBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        self.link.run(move |session| async move { find(&session, &self.directory, &self.file).await }).await
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let content = &content;
        let put = move |session| async move { put(&session, &self.directory, &self.file, content).await };
        self.link.run(put).await.map_err(|reason| match reason.kind {
            ReasonKind::Denied if reason.message == "permission denied" => {
                reason.with_hint("let the login's user write beside the replica's directory")
            }
            _ => reason,
        })
    }
}

async fn find(session: &Arc<Session>, directory: &str, file: &str) -> Result<Option<FoundBeacon>, Reason> {
    let Some(parent) = session.look(directory).await? else { return Ok(None) };
    let Some(found) = session.look(file).await? else { return Ok(None) };
    if parent.kind != FileKind::Directory || found.kind != FileKind::File {
        return Err(corrupt("not a file".to_owned()));
    }
    let written_at = found.modified.and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok());
    let written_at = written_at.ok_or_else(|| corrupt("a file without a time".to_owned()))?;
    let content = session.content(file, 0, BEACON_BYTES_MAX + 1).await?;
    // SFTP does not say what time the server takes it to be.
    Ok(content.map(|content| FoundBeacon { content: content.into(), stored_at: written_at, written_at }))
}

/// Writes a new file and renames it, so that who reads sees the old one or the new one.
async fn put(session: &Arc<Session>, directory: &str, file: &str, content: &[u8]) -> Result<(), Reason> {
    match session.look(directory).await? {
        None => drop(session.ask(session.raw.mkdir(directory, mode(0o755))).await?),
        Some(found) if found.kind == FileKind::Directory => {}
        Some(_) => return Err(corrupt("not a directory".to_owned())),
    }
    let temporary = format!("{file}.tmp");
    let written = async {
        session.find(session.raw.remove(&*temporary)).await?;
        write(session, &temporary, content).await?;
        rename(session, &temporary, file).await
    };
    let written = written.await;
    if written.is_err() && session.is_alive() {
        let _ = session.find(session.raw.remove(&*temporary)).await;
    }
    written
}

async fn write(session: &Arc<Session>, path: &str, content: &[u8]) -> Result<(), Reason> {
    let (path, flags) = (path.to_owned(), OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE);
    let request = move |raw: Arc<RawSftpSession>| async move { raw.open(path, flags, mode(0o644)).await };
    let file = session.ask(opened(session.raw.clone(), request)).await?;
    let mut offset = 0;
    for part in content.chunks(WRITE_BYTES) {
        session.ask(session.raw.write(&*file.handle, offset, part.to_vec())).await?;
        offset += part.len() as u64;
    }
    // Some servers write when it is closed, and only then say that they could not.
    session.ask(file.close()).await
}

async fn rename(session: &Arc<Session>, from: &str, to: &str) -> Result<(), Reason> {
    let mut names = Vec::new();
    for name in [from, to] {
        names.extend_from_slice(&(name.len() as u32).to_be_bytes());
        names.extend_from_slice(name.as_bytes());
    }
    let renamed = async {
        match session.raw.extended(POSIX_RENAME, names).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(Error::Status(status)),
            _ => Err(Error::UnexpectedPacket),
        }
    };
    match session.ask(renamed).await {
        // For a moment there is none.
        Err(reason) if reason.kind == ReasonKind::Unsupported => {
            session.find(session.raw.remove(to)).await?;
            session.ask(session.raw.rename(from, to)).await.map(drop)
        }
        renamed => renamed,
    }
}

fn mode(permissions: u32) -> FileAttributes {
    FileAttributes { permissions: Some(permissions), ..FileAttributes::empty() }
}
