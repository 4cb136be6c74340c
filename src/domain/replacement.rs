//! Whether the file at a database's path is the one that its WAL belongs to.
//!
//! A file that is moved or copied over a database in use leaves the programs that have it open with a deleted file, or
//! with pages that do not fit together, while the WAL beside it goes on as if nothing had happened.

use std::fmt;

use serde::{Serialize, Serializer};

/// The finding of a look at the file and its WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replacement {
    /// No wal-index says what has to be in the file: a rollback journal, exclusive locking mode, or what a crash left.
    #[default]
    Unknown,
    /// No process uses a WAL, so that the file is all there is.
    Closed,
    /// The file agrees with the WAL: header, size, locks where they show, and so many pages that both hold.
    Agrees { pages: u32 },
    /// It does not. That stays until everybody has closed the database, because the programs that have it open do not
    /// notice; or until the file that was there is back.
    Replaced(Contradiction),
}

/// The proof that the file is not the one that belongs to the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// The same WAL was in use with another file.
    OtherFile,
    /// Programs use the WAL, and none of them has the file at the path open.
    NotOpen,
    /// Programs use a WAL that was deleted or moved away, whatever is at the path now.
    WalDeleted,
    /// It was written, and by no checkpoint.
    Written,
    /// What is in it does not belong to the WAL. `seen`: those who use the WAL have this file open, so that it was
    /// overwritten; otherwise they may hold another one, which does not show.
    Content { sign: Sign, seen: bool },
}

/// What in a file does not belong to its WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It has pages of another size than the WAL.
    PageSize { file: u32, wal: u32 },
    /// Its header says rollback journal.
    RollbackJournal,
    /// A page is not what a checkpoint copied there.
    Page(u32),
}

/// Whether another file was put in the place of a database while it was in use, as a report has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplacementReport {
    /// Another file was put there; `None` where that cannot be known.
    pub replaced: Option<bool>,
    /// How that is known, or why it is not.
    #[serde(serialize_with = "spoken")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub evidence: Replacement,
}

fn spoken<S: Serializer>(evidence: &Replacement, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(evidence)
}

impl Default for ReplacementReport {
    fn default() -> Self {
        Replacement::default().into()
    }
}

impl From<Replacement> for ReplacementReport {
    fn from(seen: Replacement) -> Self {
        Self { replaced: seen.replaced(), evidence: seen }
    }
}

impl Replacement {
    /// `None` where that cannot be known.
    pub fn replaced(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Closed | Self::Agrees { .. } => Some(false),
            Self::Replaced(_) => Some(true),
        }
    }
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no wal-index says what must be in its file"),
            Self::Closed => f.write_str("no process has it open in WAL mode"),
            Self::Agrees { pages: 0 } => f.write_str("its file agrees with its WAL, which has no page to compare now"),
            Self::Agrees { pages: 1 } => f.write_str("its file agrees with its WAL, as does a page that both hold"),
            Self::Agrees { pages } => write!(f, "its file agrees with its WAL, as do {pages} pages that both hold"),
            Self::Replaced(proof) => proof.fmt(f),
        }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherFile => f.write_str("the file at its path is not the one that the WAL was used with"),
            Self::NotOpen => f.write_str("programs use its WAL, but none of them has the file at its path open"),
            Self::WalDeleted => f.write_str("programs keep using a WAL of it that was deleted or moved away"),
            Self::Written => f.write_str("its file was written to, and not by a checkpoint"),
            Self::Content { sign, seen: true } => sign.fmt(f),
            Self::Content { sign, seen: false } => write!(
                f,
                "{sign}; whether programs hold another file, which was deleted, cannot be seen by this user: look as root, \
                 before it is taken for overwritten"
            ),
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageSize { file, wal } => write!(f, "its file has pages of {file} bytes, its WAL has pages of {wal}"),
            Self::RollbackJournal => f.write_str("its WAL is in use, and the header of its file says rollback journal"),
            Self::Page(page) => write!(f, "page {page} of its file is not what a checkpoint copied there from the WAL"),
        }
    }
}
