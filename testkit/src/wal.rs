//! Follows the committed frames of a `-wal` file, with plain reads.
//!
//! SQLite takes no locks on `-wal`, so reading it in the process that has the database open is harmless; the same
//! with the database or `-shm` would drop that process's locks. Layout: SQLite file format, section 4.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::doing;
use crate::ltx::Pages;

/// Bytes of a WAL that are read at once.
const WAL_BYTES_MAX: u64 = 256 << 20;

/// Bytes before the first frame.
pub const WAL_HEADER_BYTES: usize = 32;
/// Bytes of a frame before its page.
pub const FRAME_HEADER_BYTES: usize = 24;

/// A place in a WAL, which its salts tell from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub salt1: u32,
    pub salt2: u32,
    /// In bytes.
    pub end: u64,
}

impl Position {
    /// Both lie in the same WAL.
    pub fn same_wal(&self, other: &Self) -> bool {
        (self.salt1, self.salt2) == (other.salt1, other.salt2)
    }
}

/// Bytes of a frame.
pub fn frame_bytes(page_size: u32) -> u64 {
    FRAME_HEADER_BYTES as u64 + u64::from(page_size)
}

/// The end of so many frames.
pub fn end_of(frames: u32, page_size: u32) -> u64 {
    WAL_HEADER_BYTES as u64 + u64::from(frames) * frame_bytes(page_size)
}

/// The two sums that SQLite keeps over a WAL, and how it reads words for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checksum {
    big_endian: bool,
    sums: [u32; 2],
}

impl Checksum {
    /// `bytes` is a whole number of pairs of words.
    fn extend(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.chunks_exact(8) {
            let [first, second] = [0, 4].map(|at| if self.big_endian { be32(pair, at) } else { le32(pair, at) });
            self.sums[0] = self.sums[0].wrapping_add(first).wrapping_add(self.sums[1]);
            self.sums[1] = self.sums[1].wrapping_add(second).wrapping_add(self.sums[0]);
        }
        self
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    be32(bytes, at).swap_bytes()
}

/// A place in one WAL, between two frames, from which its checksums can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub position: Position,
    checksum: Checksum,
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
    /// Opens the `-wal` of a database with pages of so many bytes.
    pub fn open(path: &Path, page_size: u32) -> io::Result<Self> {
        let file = File::open(path).map_err(doing(format!("open {}", path.display())))?;
        Ok(Self { file, page_size })
    }

    /// Where the first frame of the current generation starts; `None` while there is no valid header.
    pub fn start(&self) -> io::Result<Option<Place>> {
        let mut header = [0; WAL_HEADER_BYTES];
        match self.file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(doing("read wal header")(error)),
        }
        let big_endian = match be32(&header, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return Ok(None),
        };
        let checksum = Checksum { big_endian, sums: [0; 2] }.extend(&header[..24]);
        let valid = be32(&header, 8) == self.page_size && checksum.sums == [24, 28].map(|at| be32(&header, at));
        let [salt1, salt2] = [16, 20].map(|at| be32(&header, at));
        Ok(valid.then_some(Place { position: Position { salt1, salt2, end: WAL_HEADER_BYTES as u64 }, checksum }))
    }

    /// All that was committed since `from`; `None` when nothing was.
    pub fn commits_since(&self, from: &Place) -> io::Result<Option<Commits>> {
        let size = self.file.metadata().map_err(doing("stat wal"))?.len();
        let length = size.saturating_sub(from.position.end);
        if length > WAL_BYTES_MAX {
            let message = format!("read wal: {length} bytes at once, at most {WAL_BYTES_MAX} are read");
            return Err(io::Error::new(ErrorKind::Unsupported, message));
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, from.position.end).map_err(doing("read wal frames"))?;

        let mut at = *from;
        let mut open = Pages::new();
        let mut done: Option<Commits> = None;
        for frame in bytes.chunks_exact(frame_bytes(self.page_size) as usize) {
            let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
            at.checksum = at.checksum.extend(&head[..8]).extend(page);
            at.position.end += frame.len() as u64;
            // What follows the end of this WAL is left over from an earlier one, or still being written.
            let expected = [at.position.salt1, at.position.salt2, at.checksum.sums[0], at.checksum.sums[1]];
            if [8, 12, 16, 20].map(|word| be32(head, word)) != expected {
                break;
            }
            open.insert(be32(head, 0), page.to_vec());
            let commit = be32(head, 4);
            if commit != 0 {
                let mut pages = done.take().map(|commits| commits.pages).unwrap_or_default();
                pages.append(&mut open);
                done = Some(Commits { pages, commit, end: at });
            }
        }
        Ok(done)
    }
}
