//! The names of objects of both layouts, and what a listing tells of one.

use std::fmt;

use jiff::Timestamp;

use super::generations::{Generation, ROOT, SegmentFile, SegmentName, SnapshotFile, SnapshotName};
use super::layout::{Layout, LevelKeys};
use super::ltx::{LtxFile, LtxName, Txid};

/// An object of a replica. The order within a [`Folder`] is that of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    Ltx { level: u8, name: LtxName },
    Snapshot(Generation, SnapshotName),
    Segment(Generation, SegmentName),
}

/// Objects that are listed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Folder {
    Level(u8),
    Snapshots(Generation),
    Wal(Generation),
}

/// An object as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: ObjectName,
    /// Bytes.
    pub size: u64,
    pub at: Dated,
}

/// When an object was made, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// Litestream, which keeps the time of its header with the object.
    Written(Timestamp),
    /// The store, or nobody knows: a little later than it was written.
    Uploaded(Timestamp),
}

impl Dated {
    pub fn instant(self) -> Timestamp {
        match self {
            Self::Written(at) | Self::Uploaded(at) => at,
        }
    }
}

impl Folder {
    /// What the keys of its objects start with, `/` included.
    pub fn prefix(self, keys: LevelKeys) -> String {
        match self {
            Self::Level(level) => keys.prefix(level),
            Self::Snapshots(generation) => generation.snapshots_prefix(),
            Self::Wal(generation) => generation.wal_prefix(),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => write!(f, "level {level}"),
            Self::Snapshots(generation) => write!(f, "the snapshots of generation {generation}"),
            Self::Wal(generation) => write!(f, "the WAL of generation {generation}"),
        }
    }
}

impl Listed {
    pub fn ltx(&self) -> Option<LtxFile> {
        let ObjectName::Ltx { level, name: LtxName { min, max } } = self.name else { return None };
        Some(LtxFile { level, min, max, size: self.size, created: self.at.instant() })
    }

    pub fn snapshot(&self) -> Option<SnapshotFile> {
        let ObjectName::Snapshot(_, SnapshotName { index }) = self.name else { return None };
        Some(SnapshotFile { index, size: self.size, created: self.at.instant() })
    }

    pub fn segment(&self) -> Option<SegmentFile> {
        let ObjectName::Segment(_, SegmentName { index, offset }) = self.name else { return None };
        Some(SegmentFile { index, offset, size: self.size, created: self.at.instant() })
    }
}

impl From<LtxFile> for Listed {
    fn from(file: LtxFile) -> Self {
        let name = ObjectName::Ltx { level: file.level, name: file.name() };
        Self { name, size: file.size, at: Dated::Uploaded(file.created) }
    }
}

impl From<(Generation, SnapshotFile)> for Listed {
    fn from((generation, file): (Generation, SnapshotFile)) -> Self {
        let name = ObjectName::Snapshot(generation, SnapshotName { index: file.index });
        Self { name, size: file.size, at: Dated::Uploaded(file.created) }
    }
}

impl From<(Generation, SegmentFile)> for Listed {
    fn from((generation, file): (Generation, SegmentFile)) -> Self {
        let name = ObjectName::Segment(generation, file.name());
        Self { name, size: file.size, at: Dated::Uploaded(file.created) }
    }
}

impl ObjectName {
    pub fn folder(self) -> Folder {
        match self {
            Self::Ltx { level, .. } => Folder::Level(level),
            Self::Snapshot(generation, _) => Folder::Snapshots(generation),
            Self::Segment(generation, _) => Folder::Wal(generation),
        }
    }

    /// Whether objects of a layout are called so.
    pub fn is_of(self, layout: Layout) -> bool {
        matches!(self, Self::Ltx { .. }) == matches!(layout, Layout::V5(_))
    }

    /// The key below the replica's root.
    pub fn key(self, keys: LevelKeys) -> String {
        match self {
            Self::Ltx { level, name } => keys.key(level, name),
            Self::Snapshot(generation, name) => generation.snapshot_key(name),
            Self::Segment(generation, name) => generation.segment_key(name),
        }
    }

    /// The object of a key; `None` for a key that Litestream does not write, and ignores.
    pub fn of_key(key: &str, keys: LevelKeys) -> Option<Self> {
        let level = || keys.parse_key(key).map(|(level, name)| Self::Ltx { level, name });
        level().or_else(|| {
            let (generation, rest) = key.strip_prefix(ROOT)?.split_once('/')?;
            let generation = generation.parse().ok()?;
            match rest.split_once('/')? {
                ("snapshots", name) => Some(Self::Snapshot(generation, name.parse().ok()?)),
                ("wal", name) => Some(Self::Segment(generation, name.parse().ok()?)),
                _ => None,
            }
        })
    }

    /// The name of an LTX file; `None` for what v0.3 writes.
    pub fn ltx(self) -> Option<LtxName> {
        match self {
            Self::Ltx { name, .. } => Some(name),
            Self::Snapshot(..) | Self::Segment(..) => None,
        }
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(in crate::domain) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let kind = parts.next()?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (first, second, third) = (number()?, number()?, number());
        let index = u32::try_from(second).ok();
        match kind {
            "l" => {
                let (min, max) = (Txid(second), Txid(third?));
                let level = u8::try_from(first).ok().filter(|_| min.0 > 0 && min <= max)?;
                Some(Self::Ltx { level, name: LtxName { min, max } })
            }
            "s" => Some(Self::Snapshot(Generation(first), SnapshotName { index: index? })),
            "w" => Some(Self::Segment(Generation(first), SegmentName { index: index?, offset: third? })),
            _ => None,
        }
    }
}

/// A short form for the journal.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ltx { level, name } => write!(f, "l:{level:x}:{:x}:{:x}", name.min.0, name.max.0),
            Self::Snapshot(generation, name) => write!(f, "s:{:x}:{:x}", generation.0, name.index),
            Self::Segment(generation, name) => write!(f, "w:{:x}:{:x}:{:x}", generation.0, name.index, name.offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let names = [
            ObjectName::Ltx { level: 9, name: LtxName { min: Txid(1), max: Txid(u64::MAX) } },
            ObjectName::Snapshot(Generation(u64::MAX), SnapshotName { index: 7 }),
            ObjectName::Segment(Generation(5), SegmentName { index: u32::MAX, offset: 1 << 40 }),
        ];
        for name in names {
            assert_eq!(ObjectName::parse(&name.to_string()), Some(name));
        }
        for text in ["", "l:0:0:1", "l:0:2:1", "l:100:1:1", "s:1:100000000", "w:1:1", "x:1:1:1"] {
            assert_eq!(ObjectName::parse(text), None, "{text}");
        }
    }
}
