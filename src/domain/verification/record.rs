//! What is remembered of one object, and of one that is suspected to lack pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::FindingKind;
use super::job::Facts;
use super::pages::PageSet;
use crate::domain::litestream::{Dated, FrameIndex, Listed, ObjectName};

/// How many complete listings in a row an object that has vanished is not in, at least: one alone may have been overtaken.
pub(super) const MISSED_TWICE: u8 = 2;

/// The memory of one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    /// Decoded in full, or not to be.
    pub(super) content: bool,
    pub(super) facts: Option<Facts>,
    /// Boxed, as few have one, and `again` as well.
    pub(super) fault: Option<Box<Fault>>,
    /// When it was last decoded in full.
    pub(super) read_at: Option<Timestamp>,
    /// Where its pages are, while a restore needs it.
    pub(super) frames: Option<Arc<FrameIndex>>,
    /// It was listed otherwise since it was read, or is to be read again because it was bad.
    pub(super) again: Option<Box<Listed>>,
    pub(super) planned: bool,
    /// Complete listings in a row that lacked it.
    pub(super) missing: u8,
}

/// A fault of an object by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) kind: FindingKind,
    pub(super) detail: String,
    pub(super) seen_at: Timestamp,
    pub(super) needed: bool,
}

impl Record {
    /// The object as it was listed when it was read.
    pub(super) fn listed(&self, name: ObjectName) -> Listed {
        Listed { name, size: self.size, at: Dated::Uploaded(self.modified) }
    }

    pub(super) fn new(size: u64, modified: Timestamp, planned: bool) -> Self {
        let (facts, fault, again, read_at, frames) = (None, None, None, None, None);
        Self { size, modified, content: false, facts, fault, again, read_at, frames, planned, missing: 0 }
    }

    /// The facts of the object, if they still hold.
    pub(super) fn known(&self) -> Option<Facts> {
        self.facts.filter(|_| self.again.is_none() && self.missing == 0)
    }
}

/// A file that lacks pages by which the database grew, until the files that may hold them were read again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspect {
    /// Pages that no file is known to hold.
    pub(super) missing: PageSet,
    /// Pages of the database before and after.
    pub(super) before: u32,
    pub(super) commit: u32,
    /// Files to read, itself among them.
    pub(super) waiting: BTreeSet<ObjectName>,
    /// A file was there that has too many pages to tell.
    pub(super) untold: bool,
}
