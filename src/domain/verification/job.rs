//! One reading of an object: what is to be read, what that takes, and what it came to.

use std::sync::Arc;

use super::FindingKind;
use super::pages::PageSet;
use crate::domain::limits::{VERIFY_CHUNK_BYTES, VERIFY_WHOLE_BYTES_MAX};
use crate::domain::litestream::{Folder, FrameIndex, Listed, ObjectName};

/// Bytes at the end of a file in which most page indexes lie: one request gets them.
pub const TAIL_BYTES: u64 = 32 << 10;

/// The part of an object to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// All of it, with one request.
    Whole,
    /// Header and page index.
    Structure,
    /// All of it, in pieces.
    Content,
}

/// An object to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub object: Listed,
    pub key: String,
    pub want: Want,
}

/// The facts of a good object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facts {
    Ltx {
        page_size: u32,
        /// Pages of the database after it.
        commit: u32,
        /// Its own checksum.
        checksum: u64,
        /// Its pages are LZ4 blocks, which Litestream until 0.5.15 cannot read.
        blocks: bool,
        /// It holds all pages above this one.
        dense_from: u32,
    },
    Segment {
        /// Where it ends in the WAL.
        end: u64,
        /// Over the compressed bytes.
        checksum: u64,
        /// It does not end with a whole frame.
        is_cut: bool,
    },
    Snapshot,
}

/// The result of reading an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Good {
        /// It was decoded in full and its checksum is right.
        content: bool,
        facts: Facts,
        /// Which pages it holds; `None` where there are too many runs to say.
        pages: Option<PageSet>,
        /// Where they are; `None` where that was not read, or takes too much memory.
        frames: Option<Arc<FrameIndex>>,
    },
    Bad {
        kind: FindingKind,
        /// Where, and what.
        detail: String,
    },
    /// It is not there any more: retention was faster.
    Gone,
    /// It could not be read, which says nothing of it.
    Failed,
    /// Its index is too large to be read apart from its content.
    TooLong,
}

/// An object that was read, and what that took.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub job: Job,
    pub outcome: Outcome,
    pub requests: u64,
    pub bytes: u64,
}

impl Verified {
    /// In which folder it is and which pages it holds, if that was read.
    pub fn pages(&self) -> Option<(Folder, &PageSet)> {
        let Outcome::Good { pages: Some(pages), .. } = &self.outcome else { return None };
        Some((self.job.object.name.folder(), pages))
    }
}

impl Facts {
    pub(super) fn checksum(self) -> Option<u64> {
        match self {
            Self::Ltx { checksum, .. } | Self::Segment { checksum, .. } => Some(checksum),
            Self::Snapshot => None,
        }
    }

    /// Pages of the database after it.
    pub(super) fn commit(self) -> Option<u32> {
        match self {
            Self::Ltx { commit, .. } => Some(commit),
            Self::Segment { .. } | Self::Snapshot => None,
        }
    }
}

/// The cheapest way to learn the structure of an object.
pub(super) fn shallow(object: &Listed) -> Want {
    if object.size <= VERIFY_WHOLE_BYTES_MAX { Want::Whole } else { Want::Structure }
}

/// Requests and bytes that a job takes, at most unless an index is long.
pub(super) fn expense(object: &Listed, want: Want) -> (u64, u64) {
    match (want, object.name) {
        (Want::Whole, _) => (1, object.size),
        (Want::Structure, ObjectName::Ltx { .. }) => (2, TAIL_BYTES + 128),
        // A segment says where it ends only when it is decompressed as a whole.
        (Want::Content, _) | (Want::Structure, ObjectName::Segment(..)) => {
            (object.size / VERIFY_CHUNK_BYTES + 1, object.size)
        }
        (Want::Structure, ObjectName::Snapshot(..)) => (1, 128),
    }
}
