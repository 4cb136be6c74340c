//! The verification of a replica's objects: what reading them showed, beyond what their names say.

mod budget;
mod job;
mod ledger;
mod listing;
mod pages;
mod queue;
mod record;
mod records;
mod relations;
mod rereading;
mod results;
mod retention;
mod saved;
mod spot;
mod summary;

pub use budget::{Budget, VerifyDepth, VerifyPolicy};
pub use job::{Facts, Job, Outcome, TAIL_BYTES, Verified, Want};
pub use ledger::Ledger;
pub use listing::Listing;
pub use pages::PageSet;
pub use spot::{SpotFile, SpotPlan};

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

words! {
    /// The problem of an object.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum FindingKind {
        /// Its content is not what its format or its checksum demands.
        Corrupt = "corrupt",
        /// It does not end where it should, or is smaller than it was.
        Truncated = "truncated",
        /// It is not what its name says.
        Misnamed = "misnamed",
        /// It was replaced by another of the same name: two writers.
        Rewritten = "rewritten",
        /// It is gone, and Litestream's retention does not explain it: a bucket's lifecycle rule, or a person.
        Vanished = "vanished",
        /// The database grew, and the new pages are not in it.
        PagesMissing = "pages_missing",
        /// Its pages have another size than those of its neighbours.
        PageSizeMismatch = "page_size_mismatch",
        /// Its encoding is newer than the Litestream that is configured to restore it.
        NewerEncoding = "newer_encoding",
        /// v0.3: a segment does not begin where the one before it ends.
        SegmentMissing = "segment_missing",
        /// v0.3: it does not end with a whole frame of the WAL. Litestream restores what is before that.
        TrailingBytes = "trailing_bytes",
    }
}

impl FindingKind {
    /// The words for an object with it: `… is corrupt`.
    pub fn spoken(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Truncated => "wrong at its end",
            Self::Misnamed => "not what its name says",
            Self::Rewritten => "rewritten",
            Self::Vanished => "gone",
            Self::PagesMissing => "incomplete",
            Self::PageSizeMismatch => "of another page size",
            Self::NewerEncoding => "too new for the restorer",
            Self::SegmentMissing => "behind a hole",
            Self::TrailingBytes => "cut within a frame",
        }
    }

    /// A restore that reads such an object fails. One that is gone is in no plan; the others restore, if perhaps to something
    /// else than was committed, or not with every Litestream.
    fn stops_restores(self) -> bool {
        match self {
            Self::Corrupt
            | Self::Truncated
            | Self::Misnamed
            | Self::PagesMissing
            | Self::PageSizeMismatch
            | Self::SegmentMissing => true,
            Self::Rewritten | Self::Vanished | Self::NewerEncoding | Self::TrailingBytes => false,
        }
    }
}

/// One object with which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ObjectFinding {
    /// What is wrong with it.
    pub kind: FindingKind,
    /// The key below the replica's root.
    pub key: String,
    /// What is wrong with it, in a sentence with the offset.
    pub detail: String,
    /// When that was first seen.
    pub seen_at: Timestamp,
    /// Restoring the latest state needs the object. Others only stand for older states, or another object covers them.
    #[serde(default)]
    pub needed: bool,
}

/// The verification of one replica's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VerificationReport {
    /// Objects whose header and index were read.
    pub structure_verified: u64,
    /// Objects that were decoded in full and whose checksum is right.
    pub content_verified: u64,
    /// Bytes read to verify objects.
    pub read_bytes: u64,
    /// Objects that were read in full again, long after they were found good.
    pub reread: u64,
    /// Bytes read for reading objects again.
    pub reread_bytes: u64,
    /// When the object was read in full whose last reading is the longest ago.
    pub oldest_read_at: Option<Timestamp>,
    /// Objects that wait, for the byte budget or their turn.
    pub pending: u64,
    /// Objects that restoring the latest state reads, as far as they are known.
    pub needed: u64,
    /// Objects of those needed that were read.
    pub needed_verified: u64,
    /// Objects of those needed that `streamgauge check` left unread, because it had read as much as it may. An agent goes on
    /// reading: 0.
    pub needed_left: u64,
    /// A restore needs older objects as well, which are not among those needed: there are more than are remembered.
    pub needed_older: bool,
    /// When the oldest object was written that was not read yet; `None` when all were read.
    pub unread_since: Option<Timestamp>,
    /// Objects that could not be read at the last attempt, which says nothing of their content.
    pub unreadable: u64,
    /// Objects that were replaced by others of the same name, ever: two writers.
    pub lineage_conflicts: u64,
    /// Files of level 0 that begin before the one in front of them ends: two writers.
    pub overlaps: u64,
    /// Objects with which something is wrong, newest first; at most as many as the limits say.
    pub findings: Vec<ObjectFinding>,
}

impl VerificationReport {
    /// The problems over which a restore of the latest state would stumble.
    pub fn needed_damaged(&self) -> impl Iterator<Item = &ObjectFinding> {
        let harmless =
            |kind| matches!(kind, FindingKind::NewerEncoding | FindingKind::Rewritten | FindingKind::TrailingBytes);
        self.findings.iter().filter(move |finding| finding.needed && !harmless(finding.kind))
    }

    /// The keys of objects over which every restore that reads them stumbles.
    pub fn damaged(&self) -> BTreeSet<String> {
        self.useless().map(|finding| finding.key.clone()).collect()
    }

    /// What was found of them.
    pub fn useless(&self) -> impl Iterator<Item = &ObjectFinding> {
        self.findings.iter().filter(|finding| finding.kind.stops_restores())
    }
}
