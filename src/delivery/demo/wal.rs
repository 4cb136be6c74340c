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

/// Bytes of the WAL header, where the first frame starts.
pub const HEADER_BYTES: u64 = 32;
/// Bytes before each page.
const FRAME_HEADER_BYTES: usize = 24;

/// A place in one generation of the WAL, between two frames, with the checksum of all that is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalPosition {
    pub salts: [u8; 8],
    pub offset: u64,
    checksum: (u32, u32),
    big_endian: bool,
}

impl WalPosition {
    /// SQLite adds one to the first salt at each reset.
    pub fn is_reset_of(&self, before: &Self) -> bool {
        word(&self.salts, 0, true) == word(&before.salts, 0, true).wrapping_add(1)
    }
}

/// Whole transactions, as the last version of each page.
#[derive(Debug)]
pub struct Commits {
    pub pages: Pages,
    /// Size of the database after the last transaction, in pages.
    pub commit: u32,
    pub end: WalPosition,
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

    /// Bytes of one frame with its page.
    pub fn frame_bytes(&self) -> u64 {
        u64::from(self.page_size) + FRAME_HEADER_BYTES as u64
    }

    /// Where the first frame of the current generation starts; `None` while there is no valid header.
    pub fn start(&self) -> Result<Option<WalPosition>, Reason> {
        let mut header = [0; HEADER_BYTES as usize];
        match self.file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(Reason::from(error).context("read wal header")),
        }
        let big_endian = match word(&header, 0, true) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return Ok(None),
        };
        let checksum = (word(&header, 24, true), word(&header, 28, true));
        if sum((0, 0), &header[..24], big_endian) != checksum || word(&header, 8, true) != self.page_size {
            return Ok(None);
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        Ok(Some(WalPosition { salts, offset: HEADER_BYTES, checksum, big_endian }))
    }

    /// All that was committed since `from`; `None` when nothing was.
    pub fn commits_since(&self, from: &WalPosition) -> Result<Option<Commits>, Reason> {
        let size = self.file.metadata().map_err(|error| Reason::from(error).context("stat wal"))?.len();
        let length = size.saturating_sub(from.offset);
        if length > DEMO_WAL_BYTES_MAX {
            let message = format!("read wal: {length} bytes at once, the demo reads {DEMO_WAL_BYTES_MAX}");
            return Err(Reason::new(ReasonKind::Unsupported, message));
        }
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, from.offset)
            .map_err(|error| Reason::from(error).context("read wal frames"))?;

        let mut at = *from;
        let mut open = Pages::new();
        let mut done: Option<Commits> = None;
        for frame in bytes.chunks_exact(self.frame_bytes() as usize) {
            let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
            at.checksum = sum(sum(at.checksum, &head[..8], at.big_endian), page, at.big_endian);
            at.offset += frame.len() as u64;
            // What follows the end of this generation is left over from an earlier one, or still being written.
            if head[8..16] != at.salts || (word(head, 16, true), word(head, 20, true)) != at.checksum {
                break;
            }
            open.insert(word(head, 0, true), page.to_vec());
            let commit = word(head, 4, true);
            if commit != 0 {
                let mut pages = done.take().map(|commits| commits.pages).unwrap_or_default();
                pages.append(&mut open);
                done = Some(Commits { pages, commit, end: at });
            }
        }
        Ok(done)
    }
}

fn word(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
}

fn sum((mut a, mut b): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(pair, 0, big_endian)).wrapping_add(b);
        b = b.wrapping_add(word(pair, 4, big_endian)).wrapping_add(a);
    }
    (a, b)
}
