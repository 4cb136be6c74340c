//! Follows the committed frames of a `-wal` file for the demo's replicator, with plain reads.
//!
//! SQLite takes no locks on `-wal`, so reading it in the process that has the database open is harmless; the same
//! with the database or `-shm` would drop that process's locks. Layout: SQLite file format, section 4.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::ltx_writer::Pages;
use crate::domain::limits::DEMO_WAL_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::{
    FRAME_HEADER_BYTES, FrameHeader, WAL_HEADER_BYTES, WalChecksum, WalHeader, WalPosition, WordOrder, frame_bytes,
};

/// A place in one WAL, between two frames, from which its checksums can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub position: WalPosition,
    checksum: WalChecksum,
    order: WordOrder,
}

impl Place {
    /// SQLite adds one to the first salt at each reset.
    pub fn is_reset_of(&self, before: &Self) -> bool {
        self.position.salt1 == before.position.salt1.wrapping_add(1)
    }
}

/// Whole transactions, as the last version of each page.
#[derive(Debug)]
pub struct Commits {
    pub pages: Pages,
    /// Size of the database after the last transaction, in pages.
    pub commit: u32,
    pub end: Place,
}

/// An open `-wal`.
#[derive(Debug)]
pub struct Wal {
    file: File,
    page_size: u32,
}

impl Wal {
    pub fn open(path: &Path, page_size: u32) -> Result<Self, Reason> {
        let file = File::open(path).map_err(|error| Reason::from(error).context(format!("open {}", path.display())))?;
        Ok(Self { file, page_size })
    }

    /// Where the first frame of the current generation starts; `None` while there is no valid header.
    pub fn start(&self) -> Result<Option<Place>, Reason> {
        let mut header = [0; WAL_HEADER_BYTES];
        match self.file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(Reason::from(error).context("read wal header")),
        }
        let header = WalHeader::parse(&header).ok().filter(|header| header.page_size == self.page_size);
        Ok(header.map(|WalHeader { order, salt1, salt2, checksum, .. }| {
            let position = WalPosition { salt1, salt2, end: WAL_HEADER_BYTES as u64 };
            Place { position, checksum, order }
        }))
    }

    /// All that was committed since `from`; `None` when nothing was.
    pub fn commits_since(&self, from: &Place) -> Result<Option<Commits>, Reason> {
        let size = self.file.metadata().map_err(|error| Reason::from(error).context("stat wal"))?.len();
        let length = size.saturating_sub(from.position.end);
        if length > DEMO_WAL_BYTES_MAX {
            let message = format!("read wal: {length} bytes at once, the demo reads {DEMO_WAL_BYTES_MAX}");
            return Err(Reason::new(ReasonKind::Unsupported, message));
        }
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, from.position.end)
            .map_err(|error| Reason::from(error).context("read wal frames"))?;

        let mut at = *from;
        let mut open = Pages::new();
        let mut done: Option<Commits> = None;
        for frame in bytes.chunks_exact(frame_bytes(self.page_size) as usize) {
            let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
            let Ok(header) = FrameHeader::parse(head, at.position.end) else { break };
            at.checksum = at.checksum.extend(at.order, &head[..8]).extend(at.order, page);
            at.position.end += frame.len() as u64;
            // What follows the end of this WAL is left over from an earlier one, or still being written.
            let salts = (at.position.salt1, at.position.salt2);
            if (header.salt1, header.salt2) != salts || header.checksum != at.checksum {
                break;
            }
            open.insert(header.page_number, page.to_vec());
            let commit = header.commit_pages;
            if commit != 0 {
                let mut pages = done.take().map(|commits| commits.pages).unwrap_or_default();
                pages.append(&mut open);
                done = Some(Commits { pages, commit, end: at });
            }
        }
        Ok(done)
    }
}
